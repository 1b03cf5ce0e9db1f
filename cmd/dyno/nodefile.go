package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"dyno/engine"
	"dyno/engine/ids"

	"github.com/goccy/go-yaml"
)

// nodeFile is a node's configuration file. A key that is not here is an error;
// one that is left out means the default of engine.Config.
type nodeFile struct {
	NodeID          int32             `yaml:"node_id"`
	ClusterID       string            `yaml:"cluster_id,omitempty"`
	Data            string            `yaml:"data"`
	Kafka           string            `yaml:"kafka,omitempty"`            // host:port, like the next three
	AdvertisedKafka string            `yaml:"advertised_kafka,omitempty"` // what clients are told
	Raft            string            `yaml:"raft,omitempty"`
	Admin           string            `yaml:"admin,omitempty"`
	Rack            string            `yaml:"rack,omitempty"`
	WAL             walFile           `yaml:"wal,omitempty"`
	Limits          limitsFile        `yaml:"limits,omitempty"`
	Broker          map[string]string `yaml:"broker,omitempty"` // Kafka broker configs by name
}

type walFile struct {
	SegmentBytes  int64 `yaml:"segment_bytes,omitempty"`
	BudgetBytes   int64 `yaml:"budget_bytes,omitempty"`
	SpareSegments int   `yaml:"spare_segments,omitempty"`
	TailBytes     int64 `yaml:"tail_bytes,omitempty"`
}

type limitsFile struct {
	RequestBytesMax int           `yaml:"request_bytes_max,omitempty"`
	ConnectionsMax  int           `yaml:"connections_max,omitempty"`
	RetentionEvery  time.Duration `yaml:"retention_every,omitempty"`
}

// readNodeFile reads a configuration file; a mistake in it is told with line
// and column.
func readNodeFile(name string) (nodeFile, error) {
	var f nodeFile
	b, err := os.ReadFile(name)
	if err != nil {
		return f, usageError("read the configuration: %w", err)
	}
	if err := yaml.UnmarshalWithOptions(b, &f, yaml.Strict()); err != nil {
		return f, &exitError{exitUsage, atLine(name, err)}
	}
	return f, nil
}

// atLine puts file, line and column before a YAML error, on one line.
func atLine(name string, err error) error {
	var y yaml.Error
	if !errors.As(err, &y) {
		return fmt.Errorf("%s: %w", name, err)
	}
	pos := name
	if t := y.GetToken(); t != nil && t.Position != nil {
		pos = fmt.Sprintf("%s:%d:%d", name, t.Position.Line, t.Position.Column)
	}
	return fmt.Errorf("%s: %s", pos, y.GetMessage())
}

// write makes the file, whole or not at all: one that is cut off would stop the
// node from starting again.
func (f *nodeFile) write(name string) error {
	b, err := yaml.Marshal(f)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.WriteFile(name+".tmp", b, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}

func (f *nodeFile) config() engine.Config {
	return engine.Config{
		DataDir: f.Data, NodeID: ids.NodeID(f.NodeID), ClusterID: f.ClusterID,
		KafkaAddr: f.Kafka, RaftAddr: f.Raft, AdminAddr: f.Admin, AdvertisedKafka: f.AdvertisedKafka, Rack: f.Rack,
		WAL: engine.WALConfig{
			SegmentBytes: f.WAL.SegmentBytes, BudgetBytes: f.WAL.BudgetBytes,
			SpareSegments: f.WAL.SpareSegments, TailBytes: f.WAL.TailBytes,
		},
		Limits: engine.Limits{
			RequestBytesMax: f.Limits.RequestBytesMax, ConnectionsMax: f.Limits.ConnectionsMax,
			RetentionEvery: f.Limits.RetentionEvery,
		},
		Broker: f.Broker,
	}
}
