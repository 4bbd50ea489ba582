import java.io.*;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.*;
import org.apache.kafka.common.serialization.*;

/**
 * The Java client as a judge, run as a source file. A record is a line of tab-separated fields:
 * partition, timestamp, key, value, then name and value of each header; bytes in base64, null as "-".
 *
 *   write BOOTSTRAP TOPIC CODEC            publishes the records on stdin
 *   read BOOTSTRAP TOPIC ISOLATION         prints the topic, partition by partition, up to its end
 *   transactions BOOTSTRAP TOPIC           see transactions()
 *   partition COUNT                        prints the partition of each key (base64) on stdin
 */
public class Judge {
    static final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
    static final PrintStream out = new PrintStream(new BufferedOutputStream(System.out));

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "write" -> write(args[1], args[2], args[3]);
            case "read" -> read(args[1], args[2], args[3]);
            case "transactions" -> transactions(args[1], args[2]);
            case "partition" -> partition(Integer.parseInt(args[1]));
            default -> throw new IllegalArgumentException(args[0]);
        }
        out.flush();
    }

    static byte[] bytes(String field) {
        return field.equals("-") ? null : Base64.getDecoder().decode(field);
    }

    static String text(byte[] bytes) {
        return bytes == null ? "-" : Base64.getEncoder().encodeToString(bytes);
    }

    static Properties properties(String bootstrap) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("key.serializer", ByteArraySerializer.class.getName());
        p.put("value.serializer", ByteArraySerializer.class.getName());
        p.put("key.deserializer", ByteArrayDeserializer.class.getName());
        p.put("value.deserializer", ByteArrayDeserializer.class.getName());
        return p;
    }

    static void write(String bootstrap, String topic, String codec) throws Exception {
        Properties p = properties(bootstrap);
        p.put("compression.type", codec);
        p.put("linger.ms", "50");
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
            for (String line; (line = in.readLine()) != null; ) {
                String[] f = line.split("\t", -1);
                List<Header> headers = new ArrayList<>();
                for (int i = 4; i < f.length; i += 2) {
                    headers.add(new RecordHeader(new String(bytes(f[i]), StandardCharsets.UTF_8), bytes(f[i + 1])));
                }
                sent.add(producer.send(new ProducerRecord<>(
                        topic, Integer.valueOf(f[0]), Long.valueOf(f[1]), bytes(f[2]), bytes(f[3]), headers)));
            }
            for (Future<RecordMetadata> one : sent) one.get();
        }
    }

    static void read(String bootstrap, String topic, String isolation) {
        Properties p = properties(bootstrap);
        p.put("isolation.level", isolation);
        p.put("max.poll.records", "10000");
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(p)) {
            for (var info : sorted(consumer, topic)) {
                TopicPartition partition = new TopicPartition(topic, info);
                consumer.assign(List.of(partition));
                consumer.seekToBeginning(List.of(partition));
                long end = consumer.endOffsets(List.of(partition)).get(partition);
                while (consumer.position(partition) < end) {
                    for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(500))) {
                        out.print(r.partition() + "\t" + r.timestamp() + "\t" + text(r.key()) + "\t" + text(r.value()));
                        for (Header h : r.headers()) {
                            out.print("\t" + text(h.key().getBytes(StandardCharsets.UTF_8)) + "\t" + text(h.value()));
                        }
                        out.println();
                    }
                }
            }
        }
    }

    static SortedSet<Integer> sorted(KafkaConsumer<byte[], byte[]> consumer, String topic) {
        SortedSet<Integer> partitions = new TreeSet<>();
        consumer.partitionsFor(topic).forEach(info -> partitions.add(info.partition()));
        return partitions;
    }

    /**
     * Three rounds on partition 0: ten records committed, ten aborted (flushed first, so that they are in the log),
     * one that is in no transaction. Then one in a transaction that is left open: prints "open" and ends without
     * closing it.
     */
    static void transactions(String bootstrap, String topic) throws Exception {
        Properties p = properties(bootstrap);
        KafkaProducer<byte[], byte[]> plain = new KafkaProducer<>(p);
        p.put("transactional.id", topic);
        KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p);
        producer.initTransactions();
        for (int round = 0; round < 3; round++) {
            for (String fate : List.of("committed", "aborted")) {
                producer.beginTransaction();
                for (int i = 0; i < 10; i++) send(producer, topic, fate + "-" + round + "-" + i);
                producer.flush();
                if (fate.equals("committed")) producer.commitTransaction(); else producer.abortTransaction();
            }
            send(plain, topic, "plain-" + round).get();
        }
        producer.beginTransaction();
        send(producer, topic, "open").get();
        out.println("open");
        out.flush();
        Runtime.getRuntime().halt(0);
    }

    static Future<RecordMetadata> send(KafkaProducer<byte[], byte[]> producer, String topic, String value) {
        return producer.send(new ProducerRecord<>(topic, 0, null, value.getBytes(StandardCharsets.UTF_8)));
    }

    static void partition(int count) throws Exception {
        for (String line; (line = in.readLine()) != null; ) {
            out.println(BuiltInPartitioner.partitionForKey(bytes(line), count));
        }
    }
}
