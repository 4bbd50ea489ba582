// kafkajs against the sandbox: what it has codecs for, a group with a rebalance, offsets by time, administration.
const assert = require('node:assert');
const { Kafka, CompressionTypes, logLevel } = require('kafkajs');

const kafka = new Kafka({ clientId: 'js', brokers: [process.argv[2]], logLevel: logLevel.ERROR });
// kafkajs itself has gzip; the other codecs are plug-ins, so that what is named after them goes uncompressed.
const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.None, lz4: CompressionTypes.None, zstd: CompressionTypes.None };
const count = 300;

async function until(what, condition) {
  const end = Date.now() + 40000;
  while (!(await condition())) {
    assert(Date.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function main() {
  const admin = kafka.admin();
  await admin.connect();
  const topics = Object.keys(codecs).map((codec) => `kafkajs-${codec}`);
  await admin.createTopics({ topics: topics.map((topic) => ({ topic, numPartitions: 3 })), waitForLeaders: true });
  const before = Date.now();
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (const [codec, compression] of Object.entries(codecs)) {
    const messages = Array.from({ length: count }, (_, n) => ({ key: `k${n}`, value: `value ${n}` }));
    await producer.send({ topic: `kafkajs-${codec}`, messages, compression });
  }
  await producer.disconnect();

  const read = new Set();
  const owned = {};
  async function member(name) {
    const consumer = kafka.consumer({ groupId: 'js', sessionTimeout: 6000, heartbeatInterval: 200 });
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      owned[name] = Object.values(payload.memberAssignment).flat().length;
    });
    await consumer.connect();
    await consumer.subscribe({ topics, fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ topic, partition, message }) => void read.add(`${topic} ${partition} ${message.offset}`),
    });
    return consumer;
  }
  const one = await member('one');
  await until('all is read', () => read.size === count * topics.length);
  const two = await member('two');
  await until('both own partitions', () => owned.one > 0 && owned.two > 0 && owned.one + owned.two === 15);
  await one.disconnect();
  await two.disconnect();

  const committed = await admin.fetchOffsets({ groupId: 'js', topics: ['kafkajs-gzip'] });
  const sum = committed[0].partitions.reduce((total, { offset }) => total + Number(offset), 0);
  assert.equal(sum, count);
  const found = await admin.fetchTopicOffsetsByTimestamp('kafkajs-gzip', before);
  assert.deepEqual(found.map(({ offset }) => offset), ['0', '0', '0']);

  const transactional = kafka.producer({ transactionalId: 'js', maxInFlightRequests: 1, idempotent: true });
  await transactional.connect();
  const transaction = await transactional.transaction();
  await transaction.send({ topic: 'kafkajs-tx', messages: [{ value: 'in a transaction' }] });
  await transaction.commit();
  await transactional.disconnect();

  const { groups } = await admin.describeGroups(['js']);
  assert.equal(groups[0].state, 'Empty');
  await admin.deleteGroups(['js']);
  await admin.deleteTopics({ topics: ['kafkajs-tx'] });
  await admin.disconnect();
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
