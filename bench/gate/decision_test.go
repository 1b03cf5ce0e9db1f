package gate

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

// storeAnew makes the stored ledger anew: go test ./bench/gate -run DeadGate -store-ledger
var storeAnew = flag.Bool("store-ledger", false, "write the stored ledger anew")

const deadGate = "testdata/regression5.json"

// The ledger of a throughput that is 5 % worse fails, today and after every change
// of this package. A gate that cannot fail is found here.
func TestDeadGate(t *testing.T) {
	if *storeAnew {
		writeDeadGate(t)
	}
	b, err := os.ReadFile(deadGate)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var e Evidence
	if err := dec.Decode(&e); err != nil {
		t.Fatal(err)
	}
	d := judged(t, Default(), &e)
	want(t, d, Fail, ExitFail, "records_per_s by +")
	if c := d.Findings[2].Change; c < 0.03 || c > 0.07 {
		t.Errorf("5 %% were measured as %v", c)
	}
	// The same numbers the other way round are an improvement, and pass.
	r := Default()
	r.Metrics[2].Higher = false
	e.Confirm = nil
	d = judged(t, r, &e)
	if d.Verdict != Pass || !d.Findings[2].Improved {
		t.Errorf("turned round: %s, %+v", d.Verdict, d.Findings[2])
	}
}

func writeDeadGate(t *testing.T) {
	e := until(newBench(Default(), heavy(0.02), []float64{0, 0, 0.05, 0}, 2026).evidence(), 15, 12)
	var out bytes.Buffer
	line := func(v any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	list := func(name string, blocks []Block) {
		out.WriteString(",\n\"" + name + "\":[")
		for i, b := range blocks {
			if i > 0 {
				out.WriteString(",")
			}
			out.WriteString("\n")
			line(b)
		}
		out.WriteString("\n]")
	}
	out.WriteString(`{"base":"base","head":"head","seed":`)
	line(e.Seed)
	out.WriteString(`,"confirm_seed":`)
	line(e.ConfirmSeed)
	list("blocks", e.Blocks)
	list("confirm", e.Confirm)
	out.WriteString("}\n")
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(deadGate, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
