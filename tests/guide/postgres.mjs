// PostgreSQL, compiled to WebAssembly, for the test of the guide: `node postgres.mjs PORT SCHEMA`. It says `ready`, and then runs each
// line of its input and prints the rows as JSON.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { PGlite } from '@electric-sql/pglite';
import { PGLiteSocketServer } from '@electric-sql/pglite-socket';

const [port, schema] = process.argv.slice(2);
const db = await PGlite.create();
await db.exec(readFileSync(schema, 'utf8'));
const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: Number(port), maxConnections: 20 });
await server.start();
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify((await db.query(line)).rows));
}
process.exit();
