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
	"sync"
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
		kgo.MaxBufferedRecords(50_000),
		// As the Java client places keys; without a key a partition is kept until its batch is full, not for 64 KiB.
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	var acknowledged atomic.Int64
	var failed atomic.Pointer[error]
	promise := func(record *kgo.Record, err error) {
		if err == nil {
			acknowledged.Add(1)
		} else {
			failed.CompareAndSwap(nil, &err)
		}
		record.Context.(*chunk).release(1)
		*record = kgo.Record{}
		records.Put(record)
	}
	read, err := eachLine(input, func(from *chunk, line []byte) {
		record := records.Get().(*kgo.Record)
		record.Context, record.Value = from, line
		if len(delimiter) > 0 {
			if at := bytes.Index(line, delimiter); at >= 0 {
				record.Key, record.Value = line[:at:at], line[at+len(delimiter):]
			}
		}
		client.Produce(nil, record, promise)
	})
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

// chunk is a piece of the input. Records are slices of it and have it as their context, so that it can be used again
// when the last of them is acknowledged.
type chunk struct {
	context.Context
	bytes []byte
	users atomic.Int64
}

const chunkSize = 256 << 10

var (
	records = sync.Pool{New: func() any { return new(kgo.Record) }}
	chunks  = sync.Pool{New: func() any { return &chunk{Context: context.Background(), bytes: make([]byte, chunkSize)} }}
)

func (c *chunk) release(users int64) {
	if c.users.Add(-users) == 0 {
		chunks.Put(c)
	}
}

// eachLine calls do with every line of the input, and the chunk to release when the line is done with.
func eachLine(input io.Reader, do func(from *chunk, line []byte)) (lines int64, err error) {
	const many = 1 << 40 // more users than a chunk can have, while it is being read
	from, kept := chunks.Get().(*chunk), 0
	for {
		n, err := io.ReadFull(input, from.bytes[kept:])
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return lines, err
		}
		from.users.Store(many)
		rest, users := from.bytes[:kept+n], int64(0)
		for len(rest) > 0 {
			at := bytes.IndexByte(rest, '\n')
			if at < 0 && !end {
				break
			} else if at < 0 {
				at = len(rest)
			}
			users++
			do(from, rest[:at:at])
			rest = rest[min(at+1, len(rest)):]
		}
		lines += users
		if end {
			return lines, nil
		}
		if len(rest) == len(from.bytes) {
			return lines, fmt.Errorf("line %d is longer than %d bytes", lines+1, chunkSize)
		}
		next := chunks.Get().(*chunk)
		kept = copy(next.bytes, rest)
		from.release(many - users)
		from = next
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
