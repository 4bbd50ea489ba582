// Command franz publishes the lines of a file, or prints a topic to its end, with franz-go: the peer that barnabas is
// measured against. It is written for speed, as one would who knows the library: batches of the broker's largest size,
// no allocation per line, one callback for all records, big buffers on both ends.
//
//	franz produce -b ADDRESSES -t TOPIC [-z none|lz4|zstd|snappy|gzip] [-K DELIMITER] FILE
//	franz consume -b ADDRESSES -t TOPIC -p PARTITIONS [-c COUNT]
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The broker's message.max.bytes is 1,048,588.
const batchBytes = 1_000_000

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("franz produce|consume …"))
	}
	// A short-lived process: fewer collections for some memory. GOGC in the environment overrides it.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
	flags := flag.NewFlagSet("franz", flag.ExitOnError)
	brokers := flags.String("b", "127.0.0.1:9092", "brokers")
	topic := flags.String("t", "", "topic")
	codec := flags.String("z", "none", "compression")
	delimiter := flags.String("K", "", "what stands between key and value")
	partitions := flags.Int("p", 1, "partitions of the topic")
	count := flags.Int64("c", math.MaxInt64, "records to print")
	_ = flags.Parse(os.Args[2:])
	seeds := strings.Split(*brokers, ",")
	var err error
	switch os.Args[1] {
	case "produce":
		err = produce(seeds, *topic, *codec, []byte(*delimiter), flags.Arg(0))
	case "consume":
		err = consume(seeds, *topic, int32(*partitions), *count)
	default:
		err = fmt.Errorf("%q: produce or consume", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "franz:", err)
	os.Exit(1)
}

func produce(seeds []string, topic, codec string, delimiter []byte, file string) error {
	compression, ok := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[codec]
	if !ok {
		return fmt.Errorf("codec %q", codec)
	}
	input, err := os.Open(file)
	if err != nil {
		return err
	}
	defer input.Close()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(seeds...),
		kgo.DefaultProduceTopic(topic),
		kgo.RequiredAcks(kgo.AllISRAcks()), // idempotent by default
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.ProducerBatchMaxBytes(batchBytes),
		kgo.ProducerBatchCompression(compression),
		kgo.MaxBufferedRecords(200_000),
		// As the Java client places keys; without a key a partition is kept until its batch is full, not for 64 KiB.
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	var acknowledged atomic.Int64
	var failed atomic.Pointer[error]
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
			return
		}
		acknowledged.Add(1)
	}
	read, err := eachLine(input, func() func(line []byte) {
		var slab []kgo.Record // one allocation for many records
		ctx := context.Background()
		return func(line []byte) {
			if len(slab) == 0 {
				slab = make([]kgo.Record, 512)
			}
			record := &slab[0]
			slab = slab[1:]
			record.Value = line
			if len(delimiter) > 0 {
				if at := bytes.Index(line, delimiter); at >= 0 {
					record.Key, record.Value = line[:at:at], line[at+len(delimiter):]
				}
			}
			client.Produce(ctx, record, promise)
		}
	}())
	if err != nil {
		return err
	}
	if err := client.Flush(context.Background()); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	if got := acknowledged.Load(); got != read {
		return fmt.Errorf("%d of %d records acknowledged", got, read)
	}
	return nil
}

// eachLine calls do with every line of the input; the lines stay as they are when do returns.
func eachLine(input io.Reader, do func(line []byte)) (lines int64, err error) {
	const size = 256 << 10
	var rest []byte
	for {
		chunk := make([]byte, len(rest)+size)
		copy(chunk, rest)
		n, err := io.ReadFull(input, chunk[len(rest):])
		chunk = chunk[:len(rest)+n]
		for {
			at := bytes.IndexByte(chunk, '\n')
			if at < 0 {
				break
			}
			do(chunk[:at:at])
			lines++
			chunk = chunk[at+1:]
		}
		switch {
		case err == nil:
			rest = chunk
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if len(chunk) > 0 {
				do(chunk)
				lines++
			}
			return lines, nil
		default:
			return lines, err
		}
	}
}

func consume(seeds []string, topic string, partitions int32, count int64) error {
	ctx := context.Background()
	offsets := make(map[int32]kgo.Offset, partitions)
	for partition := range partitions {
		offsets[partition] = kgo.NewOffset().AtStart()
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(seeds...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(16<<20),
		kgo.FetchMaxPartitionBytes(8<<20),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := endOffsets(ctx, client, topic, partitions)
	if err != nil {
		return err
	}
	var left int
	for partition, end := range ends {
		if end > 0 {
			left++
		} else {
			delete(offsets, partition)
		}
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets})
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	for left > 0 && count > 0 {
		fetches := client.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 {
			return errs[0].Err
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, record := range p.Records {
				if count == 0 {
					return
				}
				count--
				// An error is kept by the writer and told by Flush.
				_, _ = out.Write(record.Value)
				_ = out.WriteByte('\n')
				if record.Offset == ends[p.Partition]-1 {
					left--
				}
			}
		})
	}
	return out.Flush()
}

func endOffsets(ctx context.Context, client *kgo.Client, topic string, partitions int32) (map[int32]int64, error) {
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID = -1
	request.IsolationLevel = 1
	wanted := kmsg.NewListOffsetsRequestTopic()
	wanted.Topic = topic
	for partition := range partitions {
		item := kmsg.NewListOffsetsRequestTopicPartition()
		item.Partition = partition
		item.Timestamp = -1
		wanted.Partitions = append(wanted.Partitions, item)
	}
	request.Topics = append(request.Topics, wanted)
	ends := make(map[int32]int64, partitions)
	for _, shard := range client.RequestSharded(ctx, request) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, topic := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, partition := range topic.Partitions {
				if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
					return nil, err
				}
				ends[partition.Partition] = partition.Offset
			}
		}
	}
	return ends, nil
}
