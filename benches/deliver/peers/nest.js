// A NestJS Kafka microservice that posts each event. node nest.js BOOTSTRAP GROUP TOPIC URL CONNECTIONS
//
// As `nest new` would have it, but for the TypeScript: decorators are called by hand. Values stay buffers (keepBinary),
// which spares it from parsing and writing JSON.
'use strict';
require('reflect-metadata');
const { Controller, Module } = require('@nestjs/common');
const { NestFactory } = require('@nestjs/core');
const { Ctx, EventPattern, Payload, Transport } = require('@nestjs/microservices');
const { logLevel } = require('kafkajs');
const { poster, untilTold } = require('./post.js');

const [bootstrap, groupId, topic, url, connections] = process.argv.slice(2);
const post = poster(url, Number(connections));

class Events {
  async handle(data, context) {
    await post(context.getMessage().headers, data);
  }
}
const handle = Object.getOwnPropertyDescriptor(Events.prototype, 'handle');
Payload()(Events.prototype, 'handle', 0);
Ctx()(Events.prototype, 'handle', 1);
EventPattern(topic)(Events.prototype, 'handle', handle);
Controller()(Events);

class App {}
Module({ controllers: [Events] })(App);

async function main() {
  const app = await NestFactory.createMicroservice(App, {
    logger: ['error', 'fatal'],
    transport: Transport.KAFKA,
    options: {
      // Nest adds `-server` to both.
      client: { clientId: 'peer', brokers: [bootstrap], logLevel: logLevel.ERROR },
      consumer: { groupId },
      subscribe: { fromBeginning: true },
      run: { partitionsConsumedConcurrently: 6 },
      parser: { keepBinary: true },
    },
  });
  await app.listen();
  untilTold(() => app.close());
}

main().catch((error) => { console.error(error); process.exit(1); });
