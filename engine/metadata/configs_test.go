package metadata

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestTables(t *testing.T) {
	for name, table := range map[string][]Key{"topic": TopicKeys(), "broker": BrokerKeys()} {
		if !slices.IsSortedFunc(table, func(a, b Key) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%s keys are not sorted, so find fails", name)
		}
		for _, k := range table {
			own := k.Name == MinInsyncKey || k.ReadOnly // defaults that mean "not set"
			if err := checkValue(table, k.Name, k.Default); err != nil && !own {
				t.Errorf("%s: its default: %v", k.Name, err)
			}
			if k.Doc == "" {
				t.Errorf("%s: no doc", k.Name)
			}
		}
	}
	for _, k := range TopicKeys() {
		b := find(brokerKeys, k.Broker)
		if b == nil || b.Type != k.Type || b.Default != k.Default {
			t.Errorf("%s: broker key %q is missing or differs: %+v", k.Name, k.Broker, b)
		}
	}
}

func TestResolveOps(t *testing.T) {
	str := func(s string) *string { return &s }
	now := map[string]string{"retention.ms": "5"}
	for _, c := range []struct {
		name string
		ops  []Op
		set  map[string]string
		del  []string
		err  error
	}{
		{"nothing", nil, map[string]string{}, nil, nil},
		{"set and delete", []Op{{"retention.bytes", OpSet, str("7")}, {"retention.ms", OpDelete, nil}}, map[string]string{"retention.bytes": "7"}, []string{"retention.ms"}, nil},
		{"append what is there", []Op{{"cleanup.policy", OpAppend, str("delete")}}, map[string]string{"cleanup.policy": "delete"}, nil, nil},
		{"append what dyno lacks", []Op{{"cleanup.policy", OpAppend, str("compact")}}, nil, nil, ErrInvalidConfig},
		{"subtract the last", []Op{{"cleanup.policy", OpSubtract, str("delete")}}, nil, nil, ErrInvalidConfig},
		{"subtract what is not there", []Op{{"cleanup.policy", OpSubtract, str("compact")}}, map[string]string{"cleanup.policy": "delete"}, nil, nil},
		{"append to a number", []Op{{"retention.ms", OpAppend, str("1")}}, nil, nil, ErrInvalidConfig},
		{"unknown key", []Op{{"retention", OpSet, str("1")}}, nil, nil, ErrInvalidConfig},
		{"twice", []Op{{"retention.ms", OpSet, str("1")}, {"retention.ms", OpDelete, nil}}, nil, nil, ErrInvalidOps},
		{"no value", []Op{{"retention.ms", OpSet, nil}}, nil, nil, ErrInvalidOps},
		{"unknown kind", []Op{{"retention.ms", 9, str("1")}}, nil, nil, ErrInvalidOps},
		{"bad value", []Op{{"retention.ms", OpSet, str("soon")}}, nil, nil, ErrInvalidConfig},
	} {
		set, del, err := ResolveOps(TopicKeys(), now, c.ops)
		if !errors.Is(err, c.err) || c.err == nil && err != nil {
			t.Errorf("%s: error %v, want %v", c.name, err, c.err)
		}
		if c.err == nil && (!maps.Equal(set, c.set) || !slices.Equal(del, c.del)) {
			t.Errorf("%s: set %v, delete %v; want %v, %v", c.name, set, del, c.set, c.del)
		}
	}
	if _, _, err := ResolveOps(BrokerKeys(), nil, []Op{{"broker.id", OpSet, str("1")}}); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("read-only key: %v", err)
	}
	if err := CheckStatic(map[string]string{"broker.id": "1", "num.partitions": "zero"}); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("static configs: %v", err)
	}
}
