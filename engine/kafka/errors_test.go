package kafka

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"dyno/engine/partition"
	"dyno/engine/replica"
)

// sentinels lists every exported error a Backend may answer with, and the name
// Kafka gives the code a client must see.
var sentinels = map[string]struct {
	err  error
	name string
}{
	"replica.ErrNotLeader":   {replica.ErrNotLeader, "NOT_LEADER_FOR_PARTITION"},
	"replica.ErrParked":      {replica.ErrParked, "UNKNOWN_SERVER_ERROR"}, // never leaves the partition
	"replica.ErrAgain":       {replica.ErrAgain, "UNKNOWN_SERVER_ERROR"},  // never leaves the replica
	"replica.ErrOverloaded":  {replica.ErrOverloaded, "NOT_ENOUGH_REPLICAS"},
	"replica.ErrDropped":     {replica.ErrDropped, "NOT_LEADER_FOR_PARTITION"},
	"replica.ErrStopped":     {replica.ErrStopped, "NOT_LEADER_FOR_PARTITION"},
	"replica.ErrDamaged":     {replica.ErrDamaged, "KAFKA_STORAGE_ERROR"},
	"replica.ErrTimeout":     {replica.ErrTimeout, "REQUEST_TIMED_OUT"},
	"replica.ErrCompacted":   {replica.ErrCompacted, "OFFSET_OUT_OF_RANGE"},
	"replica.ErrDiskFull":    {replica.ErrDiskFull, "KAFKA_STORAGE_ERROR"},
	"replica.ErrUnavailable": {replica.ErrUnavailable, "OFFSET_NOT_AVAILABLE"},

	"partition.ErrOffsetOutOfRange":   {partition.ErrOffsetOutOfRange, "OFFSET_OUT_OF_RANGE"},
	"partition.ErrCorruptBatch":       {partition.ErrCorruptBatch, "CORRUPT_MESSAGE"},
	"partition.ErrOldMagic":           {partition.ErrOldMagic, "INVALID_RECORD"},
	"partition.ErrInvalidBatch":       {partition.ErrInvalidBatch, "INVALID_RECORD"},
	"partition.ErrBatchTooLarge":      {partition.ErrBatchTooLarge, "MESSAGE_TOO_LARGE"},
	"partition.ErrOutOfOrderSequence": {partition.ErrOutOfOrderSequence, "OUT_OF_ORDER_SEQUENCE_NUMBER"},
	"partition.ErrProducerFenced":     {partition.ErrProducerFenced, "INVALID_PRODUCER_EPOCH"},
	"partition.ErrFencedEpoch":        {partition.ErrFencedEpoch, "FENCED_LEADER_EPOCH"},
	"partition.ErrUnknownEpoch":       {partition.ErrUnknownEpoch, "UNKNOWN_LEADER_EPOCH"},
	"partition.ErrNotEnoughReplicas":  {partition.ErrNotEnoughReplicas, "NOT_ENOUGH_REPLICAS"},
	"partition.ErrDamaged":            {partition.ErrDamaged, "KAFKA_STORAGE_ERROR"},
	"partition.ErrCheckpoint":         {partition.ErrCheckpoint, "KAFKA_STORAGE_ERROR"},

	"kafka.ErrUnknownTopic":          {ErrUnknownTopic, "UNKNOWN_TOPIC_OR_PARTITION"},
	"kafka.ErrUnknownPartition":      {ErrUnknownPartition, "UNKNOWN_TOPIC_OR_PARTITION"},
	"kafka.ErrTopicExists":           {ErrTopicExists, "TOPIC_ALREADY_EXISTS"},
	"kafka.ErrInvalidTopic":          {ErrInvalidTopic, "INVALID_TOPIC_EXCEPTION"},
	"kafka.ErrInvalidCount":          {ErrInvalidCount, "INVALID_PARTITIONS"},
	"kafka.ErrInvalidRF":             {ErrInvalidRF, "INVALID_REPLICATION_FACTOR"},
	"kafka.ErrInvalidReplicas":       {ErrInvalidReplicas, "INVALID_REPLICA_ASSIGNMENT"},
	"kafka.ErrInvalidConfig":         {ErrInvalidConfig, "INVALID_CONFIG"},
	"kafka.ErrInvalidRequest":        {ErrInvalidRequest, "INVALID_REQUEST"},
	"kafka.ErrPolicy":                {ErrPolicy, "POLICY_VIOLATION"},
	"kafka.ErrUnknownBroker":         {ErrUnknownBroker, "BROKER_ID_NOT_REGISTERED"},
	"kafka.ErrNoReassignment":        {ErrNoReassignment, "NO_REASSIGNMENT_IN_PROGRESS"},
	"kafka.ErrElectionNotNeeded":     {ErrElectionNotNeeded, "ELECTION_NOT_NEEDED"},
	"kafka.ErrPreferredNotAvailable": {ErrPreferredNotAvailable, "PREFERRED_LEADER_NOT_AVAILABLE"},
	"kafka.ErrEligibleNotAvailable":  {ErrEligibleNotAvailable, "ELIGIBLE_LEADERS_NOT_AVAILABLE"},
	"kafka.ErrConfig":                {ErrConfig, "UNKNOWN_SERVER_ERROR"}, // of Serve
}

func TestErrorCodes(t *testing.T) {
	for name, s := range sentinels {
		for _, err := range []error{s.err, fmt.Errorf("append: %w", s.err), errors.Join(errFake, s.err)} {
			got := codeOf(err)
			var is *kerr.Error
			if !errors.As(kerr.ErrorForCode(int16(got)), &is) || is.Message != s.name {
				t.Errorf("%s is answered with %d, want %s", name, got, s.name)
			}
		}
	}
	if got := codeOf(&replica.NotLeaderError{Leader: 3}); got != codeNotLeader {
		t.Errorf("NotLeaderError: %d", got)
	}
	if codeOf(nil) != codeNone || codeOf(errFake) != codeUnknownServer {
		t.Error("nil and only nil is no error")
	}
}

// TestErrorCodesComplete reads the sources of the packages whose errors reach
// the front: a sentinel that nobody put into the table above fails it.
func TestErrorCodesComplete(t *testing.T) {
	for _, dir := range []string{"../replica", "../partition", "."} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no sources in %s: %v", dir, err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range sentinelsIn(t, f, src) {
				if _, ok := sentinels[name]; !ok {
					t.Errorf("%s has no Kafka code: add it to errorCodes and to this test", name)
				}
			}
		}
	}
}

func sentinelsIn(t *testing.T, file string, src []byte) (names []string) {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range tree.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			for _, id := range spec.(*ast.ValueSpec).Names {
				if strings.HasPrefix(id.Name, "Err") {
					names = append(names, tree.Name.Name+"."+id.Name)
				}
			}
		}
	}
	return names
}
