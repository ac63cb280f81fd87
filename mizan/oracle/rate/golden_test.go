package oracle

import (
	"bytes"
	"flag"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

var write = flag.Bool("write", false, "write the record instead of comparing with it")

const (
	golden = "../../tests/golden/rate.txt"
	// Programs with times of their own, forward and back, and programs that wait on a clock.
	timed, waiting = 1000, 400
	// The least and the most steps of one.
	stepsMin, stepsMax = 8, 28
)

func TestGolden(t *testing.T) {
	var out bytes.Buffer
	for seed := range uint64(timed) {
		p := start(&out, seed, time.Unix(1_000_000_000, 0))
		for range steps(p) {
			if !p.ended {
				p.step(true)
			}
		}
	}
	for seed := range uint64(waiting) {
		synctest.Test(t, func(*testing.T) {
			p := start(&out, timed+seed, time.Now())
			for range steps(p) {
				if !p.ended {
					p.wait()
				}
			}
		})
	}
	if *write {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, out.Bytes()) {
		t.Fatalf("%s differs from what this version records; -write replaces it", golden)
	}
}

func steps(p *program) int64 { return stepsMin + p.below(stepsMax-stepsMin+1) }
