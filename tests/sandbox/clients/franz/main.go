// franz-go against the sandbox: every codec, a group with a rebalance, offsets by time, transactions, administration.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const count = 300

func must(what string, err error) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func client(opts ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(os.Args[1]))...)
	must("client", err)
	return c
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	var topics []string
	for name := range codecs {
		topics = append(topics, "franz-"+name)
	}
	admin := kadm.NewClient(client())
	created, err := admin.CreateTopics(ctx, 3, 1, nil, topics...)
	must("create", err)
	must("create", created.Error())
	before := time.Now().UnixMilli()
	for name, codec := range codecs {
		c := client(kgo.ProducerBatchCompression(codec))
		for n := range count {
			r := &kgo.Record{Topic: "franz-" + name, Key: fmt.Appendf(nil, "k%d", n), Value: fmt.Appendf(nil, "value %d", n)}
			c.Produce(ctx, r, func(_ *kgo.Record, err error) { must("produce", err) })
		}
		must("flush", c.Flush(ctx))
		c.Close()
	}

	var mu sync.Mutex
	read := map[string]bool{}
	owned := map[string]int{}
	member := func(name string) *kgo.Client {
		change := func(by int) func(context.Context, *kgo.Client, map[string][]int32) {
			return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
				mu.Lock()
				defer mu.Unlock()
				for _, p := range parts {
					owned[name] += by * len(p)
				}
			}
		}
		c := client(kgo.ConsumerGroup("franz"), kgo.ConsumeTopics(topics...), kgo.OnPartitionsAssigned(change(1)),
			kgo.OnPartitionsRevoked(change(-1)), kgo.OnPartitionsLost(change(-1)), kgo.HeartbeatInterval(200*time.Millisecond),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		go func() {
			for {
				fetches := c.PollFetches(ctx)
				if fetches.IsClientClosed() {
					return
				}
				fetches.EachError(func(t string, p int32, err error) { must("fetch", err) })
				mu.Lock()
				fetches.EachRecord(func(r *kgo.Record) { read[fmt.Sprint(r.Topic, r.Partition, r.Offset)] = true })
				mu.Unlock()
			}
		}()
		return c
	}
	until := func(what string, so func() bool) {
		for end := time.Now().Add(40 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			mu.Lock()
			ok := so()
			mu.Unlock()
			if ok {
				return
			}
			if time.Now().After(end) {
				fail("%s: read %d, owned %v", what, len(read), owned)
			}
		}
	}
	one := member("one")
	until("all is read", func() bool { return len(read) == count*len(codecs) })
	two := member("two")
	until("both own partitions", func() bool { return owned["one"] > 0 && owned["two"] > 0 && owned["one"]+owned["two"] == 15 })
	must("commit", one.CommitUncommittedOffsets(ctx))
	one.Close()
	two.Close()

	found, err := admin.ListOffsetsAfterMilli(ctx, before, "franz-zstd")
	must("offsets by time", err)
	found.Each(func(o kadm.ListedOffset) {
		if o.Err != nil || o.Offset != 0 {
			fail("offset by time: %+v", o)
		}
	})

	tx := client(kgo.TransactionalID("franz"), kgo.DefaultProduceTopic("franz-tx"), kgo.AllowAutoTopicCreation())
	for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		must("begin", tx.BeginTransaction())
		must("produce", tx.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(bool(commit)))).FirstErr())
		must("end", tx.EndTransaction(ctx, commit))
	}
	tx.Close()
	reader := client(kgo.ConsumeTopics("franz-tx"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	records := reader.PollFetches(ctx).Records()
	if len(records) != 1 || string(records[0].Value) != "true" {
		fail("committed: %v", records)
	}
	reader.Close()

	described, err := admin.DescribeGroups(ctx, "franz")
	must("describe", err)
	if state := described["franz"].State; state != "Empty" {
		fail("state %s", state)
	}
	_, err = admin.DeleteGroup(ctx, "franz")
	must("delete group", err)
}
