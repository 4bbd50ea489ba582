"""One member of a native group, through librdkafka: prints `partition offset` of each record at once.

consumer.py BOOTSTRAP GROUP TOPIC range|cooperative-sticky|kip-848 SESSION_MS
"""
import signal
import sys

from confluent_kafka import Consumer

bootstrap, group, topic, protocol, session = sys.argv[1:]
settings = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": 1000, "fetch.wait.max.ms": 50}
if protocol == "kip-848":
    settings["group.protocol"] = "consumer"
else:
    settings["partition.assignment.strategy"] = protocol
    settings["session.timeout.ms"] = int(session)

running = True


def stop(*_):
    global running
    running = False


signal.signal(signal.SIGTERM, stop)
consumer = Consumer(settings)
consumer.subscribe([topic])
while running:
    message = consumer.poll(0.05)
    if message is None or message.error():
        continue
    sys.stdout.write(f"{message.partition()} {message.offset()}\n")
    sys.stdout.flush()
consumer.close()
