"""confluent-kafka against the sandbox: every codec, a group with a rebalance, offsets by time, administration."""
import sys
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

at = {"bootstrap.servers": sys.argv[1]}
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
COUNT = 300

admin = AdminClient(at)
for future in admin.create_topics([NewTopic(f"python-{c}", 3, 1) for c in CODECS]).values():
    future.result(20)

before = int(time.time() * 1000)
for codec in CODECS:
    failed = []
    producer = Producer({**at, "compression.type": codec, "enable.idempotence": True})
    for n in range(COUNT):
        producer.produce(f"python-{codec}", f"value {n} " + "x" * (n % 90), f"k{n}", on_delivery=lambda e, m: e and failed.append(e))
        producer.poll(0)
    assert producer.flush(20) == 0 and not failed, failed

read, lock, stop = set(), threading.Lock(), threading.Event()
owned = {}

def member(name):
    consumer = Consumer({**at, "group.id": "python", "auto.offset.reset": "earliest", "session.timeout.ms": 6000})
    consumer.subscribe([f"python-{c}" for c in CODECS])
    while not stop.is_set():
        message = consumer.poll(0.1)
        with lock:
            owned[name] = len(consumer.assignment())
            if message is not None:
                assert message.error() is None, message.error()
                read.add((message.topic(), message.partition(), message.offset()))
    consumer.close()

def wait(what, condition):
    end = time.time() + 40
    while True:
        with lock:
            if condition():
                return
        assert time.time() < end, what
        time.sleep(0.05)

threads = [threading.Thread(target=member, args=("one",))]
threads[0].start()
wait("all is read", lambda: len(read) == COUNT * len(CODECS))
threads.append(threading.Thread(target=member, args=("two",)))
threads[1].start()
wait("both own partitions", lambda: owned.get("one") and owned.get("two") and sum(owned.values()) == 15)
stop.set()
for thread in threads:
    thread.join(30)

consumer = Consumer({**at, "group.id": "python"})
parts = [TopicPartition("python-zstd", p) for p in range(3)]
assert sum(p.offset for p in consumer.committed(parts, timeout=20)) == COUNT
found = consumer.offsets_for_times([TopicPartition("python-zstd", p, before) for p in range(3)], timeout=20)
assert [p.offset for p in found] == [0, 0, 0], found
assert sum(consumer.get_watermark_offsets(p)[1] for p in parts) == COUNT
consumer.close()

producer = Producer({**at, "transactional.id": "python"})
producer.init_transactions(20)
for commit in (True, False):
    producer.begin_transaction()
    producer.produce("python-tx", str(commit), partition=0)
    producer.commit_transaction(20) if commit else producer.abort_transaction(20)
consumer = Consumer({**at, "group.id": "tx", "isolation.level": "read_committed", "enable.partition.eof": True})
consumer.assign([TopicPartition("python-tx", 0, OFFSET_BEGINNING)])
values = []
while True:
    message = consumer.poll(20)
    assert message is not None
    if message.error():
        break
    values.append(message.value())
consumer.close()
assert values == [b"True"], values

resource = ConfigResource(ConfigResource.Type.TOPIC, "python-lz4", set_config={"retention.ms": "1234567"})
for future in admin.alter_configs([resource]).values():
    future.result(20)
described = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, "python-lz4")])
assert [f.result(20)["retention.ms"].value for f in described.values()] == ["1234567"]
listed = admin.list_consumer_groups(request_timeout=20).result()
assert {"python"} <= {group.group_id for group in listed.valid}, listed.valid
for future in admin.delete_consumer_groups(["python"], request_timeout=20).values():
    future.result()
