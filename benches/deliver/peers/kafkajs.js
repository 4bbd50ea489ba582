// A bare kafkajs consumer that posts. node kafkajs.js each-message|each-batch BOOTSTRAP GROUP TOPIC URL CONNECTIONS
//
// each-message: one event of a partition at a time, six partitions at once.
// each-batch: the events of a batch at once, those with one key in order, six partitions at once.
'use strict';
const { Kafka, logLevel } = require('kafkajs');
const { poster, untilTold } = require('./post.js');

const [mode, bootstrap, groupId, topic, url, connections] = process.argv.slice(2);
const post = poster(url, Number(connections));

async function inOrderOfKeys({ batch }) {
  const lanes = new Map();
  for (const message of batch.messages) {
    const key = message.key === null ? message.offset : message.key.toString();
    const send = () => post(message.headers, message.value);
    const before = lanes.get(key);
    lanes.set(key, before === undefined ? send() : before.then(send));
  }
  await Promise.all(lanes.values());
}

async function main() {
  const kafka = new Kafka({ clientId: 'peer', brokers: [bootstrap], logLevel: logLevel.ERROR });
  const consumer = kafka.consumer({ groupId });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  const work = mode === 'each-batch'
    ? { eachBatch: inOrderOfKeys }
    : { eachMessage: ({ message }) => post(message.headers, message.value) };
  await consumer.run({ partitionsConsumedConcurrently: 6, ...work });
  untilTold(() => consumer.disconnect());
}

main().catch((error) => { console.error(error); process.exit(1); });
