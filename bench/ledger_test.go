package bench

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"dyno/bench/record"
)

// ledgerOf opens the ledger of an experiment without a configuration.
func ledgerOf(t *testing.T, root string) *ledger {
	t.Helper()
	l, err := openLedger(root, &Experiment{Name: "x"}, &record.Environment{}, exactSource, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// An invocation that cannot write the ledger anew leaves the old one as it was.
func TestLedgerIsReplacedWholeOrNotAtAll(t *testing.T) {
	root := t.TempDir()
	l := ledgerOf(t, root)
	if err := l.add(ledgerLine{Arm: "arm", Repetition: record.Repetition{Number: 1, Status: record.OK}}); err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	was, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	inTheWay := l.path + ".new"
	if err := os.Mkdir(inTheWay, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := openLedger(root, &Experiment{Name: "x"}, &record.Environment{}, exactSource, nil); err == nil {
		t.Error("a ledger was opened that cannot be written anew")
	}
	if is, err := os.ReadFile(l.path); err != nil || !bytes.Equal(is, was) {
		t.Errorf("%v, %q, want %q", err, is, was)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	l = ledgerOf(t, root)
	if !l.has("arm", 1) {
		t.Error("the repetition is gone")
	}
	if err := l.done(); err != nil {
		t.Error(err)
	}
	emptyOrGone(t, root)
}

// What was said up to a repetition that is kept comes back with it, once.
func TestCautionsAreKeptWithTheirRepetition(t *testing.T) {
	root := t.TempDir()
	for n, c := range []struct{ says, has []string }{
		{[]string{"one"}, []string{"one"}},
		{[]string{"two"}, []string{"one", "two"}},
		{nil, []string{"one", "two"}},
	} {
		l, led := &lab{}, ledgerOf(t, root)
		l.recall(led)
		for _, text := range c.says {
			l.caution(text)
		}
		for i := range 2 {
			if err := l.keep(led, "arm", record.Repetition{Number: 2*n + i + 1, Status: record.OK}, ""); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(l.cautions, c.has) {
			t.Errorf("invocation %d: %q, want %q", n+1, l.cautions, c.has)
		}
		l.caution("of a repetition that was lost")
		if err := led.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// However many cautions there are, what holds for the whole run is told, and how many
// of the others are not.
func TestCautionsOfTheWholeRunAreTold(t *testing.T) {
	l := &lab{opt: &Options{}}
	for i := range cautionsMax + 3 {
		l.caution(fmt.Sprintf("caution %d", i))
	}
	l.cautionLast("half of it is old")
	l.env.Before = record.ReadPressures() // as if all time since had been taken away
	l.env.Before.StealTicks -= l.env.Before.TotalTicks
	l.env.Before.TotalTicks -= 100
	var run record.Run
	l.finish(&run)
	text := strings.Join(run.Notes, "\n")
	for _, word := range []string{"caution 19", "\n3 more cautions were left out", "\nhalf of it is old", "\nthe hypervisor took "} {
		if !strings.Contains(text, word) {
			t.Errorf("%q is not in\n%s", word, text)
		}
	}
	if len(run.Notes) != cautionsMax+3 {
		t.Errorf("%d notes", len(run.Notes))
	}
}
