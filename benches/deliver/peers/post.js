// What both peers do with an event: POST it as a CloudEvent in binary mode over kept-alive connections.
'use strict';
const { Pool } = require('undici');

/** `connections` at most; further posts wait for one. */
function poster(url, connections) {
  const { origin, pathname: path } = new URL(url);
  const pool = new Pool(origin, { connections, pipelining: 1, bodyTimeout: 0, headersTimeout: 0 });
  return async (headers, body) => {
    const sent = {};
    for (const name in headers) {
      const value = headers[name];
      sent[name.startsWith('ce_') ? `ce-${name.slice(3)}` : name] = typeof value === 'string' ? value : value.toString();
    }
    const answer = await pool.request({ method: 'POST', path, headers: sent, body });
    await answer.body.dump();
    if (answer.statusCode >= 300) throw new Error(`status ${answer.statusCode}`);
  };
}

/** Ends the process in order when it is asked to. */
function untilTold(stop) {
  process.once('SIGTERM', () => stop().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); }));
}

module.exports = { poster, untilTold };
