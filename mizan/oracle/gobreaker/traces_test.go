// Records what sony/gobreaker does in random programs, for mizan/src/breaker/tests/oracle.rs to replay.
//
// gobreaker reads the clock itself. testing/synctest gives it one that stands still until everybody
// sleeps, and then jumps: so time is virtual and exact to the nanosecond.
package gobreaker

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	golden   = "../../tests/golden/gobreaker.txt"
	programs = 1500
	seed     = 20260101
)

var write = flag.Bool("write", false, "write the file instead of comparing it")

var (
	errFailed   = errors.New("failed")
	errExcluded = errors.New("excluded")
)

// A trip rule, as data that both sides read.
type trip struct {
	requestsMin, failurePercent, consecutive uint32
}

func (t trip) ready(c gobreaker.Counts) bool {
	if t.consecutive > 0 && c.ConsecutiveFailures >= t.consecutive {
		return true
	}
	if t.requestsMin == 0 || c.Requests < c.TotalExclusions {
		return false
	}
	valid := c.Requests - c.TotalExclusions
	return valid >= t.requestsMin && c.TotalFailures*100 >= valid*t.failurePercent
}

func randomTrip(r *rand.Rand) trip {
	var t trip
	kind := r.IntN(3)
	if kind != 1 {
		t.requestsMin = 1 + r.Uint32N(6)
		t.failurePercent = 10 * (1 + r.Uint32N(10))
	}
	if kind != 0 {
		t.consecutive = 1 + r.Uint32N(6)
	}
	return t
}

// A duration of a grid coarse enough for programs to meet the ends of periods exactly.
func tenths(r *rand.Rand, most int) time.Duration {
	return time.Duration(1+r.IntN(most)) * 100 * time.Millisecond
}

// One breaker and the program that it is in.
type recorder struct {
	out     *bytes.Buffer
	r       *rand.Rand
	cb      *gobreaker.TwoStepCircuitBreaker[any]
	calls   []func(error)
	counts  gobreaker.Counts
	changes []string
}

func newRecorder(out *bytes.Buffer, r *rand.Rand) *recorder {
	rec := &recorder{out: out, r: r}
	st := gobreaker.Settings{
		MaxRequests: r.Uint32N(5),
		IsExcluded:  func(err error) bool { return errors.Is(err, errExcluded) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			rec.changes = append(rec.changes, fmt.Sprintf("%d>%d", from, to))
		},
	}
	if r.IntN(5) > 0 {
		st.Interval = tenths(r, 20)
	}
	if r.IntN(2) > 0 {
		st.BucketPeriod = tenths(r, 6)
	}
	if r.IntN(8) > 0 {
		st.Timeout = tenths(r, 15)
	}
	// Every eighth has gobreaker's own rule, which is written as what it says: the 6th in a row.
	t := trip{consecutive: 6}
	if r.IntN(8) > 0 {
		t = randomTrip(r)
		st.ReadyToTrip = t.ready
	}
	fmt.Fprintf(out, "p %d %d %d %d %d %d %d\n", st.MaxRequests, st.Interval.Milliseconds(),
		st.BucketPeriod.Milliseconds(), st.Timeout.Milliseconds(),
		t.requestsMin, t.failurePercent, t.consecutive)
	rec.cb = gobreaker.NewTwoStepCircuitBreaker[any](st)
	return rec
}

// One step; its line says what was done and what came of it.
func (rec *recorder) step(failures int) {
	r := rec.r
	switch dice := r.IntN(100); {
	case dice < 40 || dice < 75 && len(rec.calls) == 0:
		done, err := rec.cb.Allow()
		switch {
		case err == nil:
			rec.calls = append(rec.calls, done)
			rec.out.WriteString("a")
		case errors.Is(err, gobreaker.ErrOpenState):
			rec.out.WriteString("o")
		case errors.Is(err, gobreaker.ErrTooManyRequests):
			rec.out.WriteString("m")
		default:
			panic(err)
		}
	case dice < 75:
		rec.done(failures)
	case dice < 93:
		rec.wait()
	default:
		fmt.Fprintf(rec.out, "s%d", rec.cb.State())
	}
	rec.result()
}

// Any call under way ends, mostly one of the last.
func (rec *recorder) done(failures int) {
	index := len(rec.calls) - 1
	if rec.r.IntN(3) == 0 {
		index = rec.r.IntN(len(rec.calls))
	}
	done := rec.calls[index]
	rec.calls = append(rec.calls[:index], rec.calls[index+1:]...)
	switch dice := rec.r.IntN(100); {
	case dice < 12:
		fmt.Fprintf(rec.out, "x%d", index)
		done(errExcluded)
	case dice < 12+failures:
		fmt.Fprintf(rec.out, "f%d", index)
		done(errFailed)
	default:
		fmt.Fprintf(rec.out, "k%d", index)
		done(nil)
	}
}

func (rec *recorder) wait() {
	d := tenths(rec.r, 5)
	switch rec.r.IntN(12) {
	case 0:
		d = time.Microsecond
	case 1:
		d -= time.Microsecond
	case 2:
		d = tenths(rec.r, 30)
	case 3:
		if rec.r.IntN(4) == 0 {
			d = 60 * time.Second
		}
	}
	time.Sleep(d)
	fmt.Fprintf(rec.out, "t%d", d.Microseconds())
}

// The counts that differ from those of the step before, and the changes of state.
func (rec *recorder) result() {
	was, is := rec.counts, rec.cb.Counts()
	for _, c := range []struct {
		name    byte
		was, is uint32
	}{
		{'R', was.Requests, is.Requests},
		{'S', was.TotalSuccesses, is.TotalSuccesses},
		{'F', was.TotalFailures, is.TotalFailures},
		{'X', was.TotalExclusions, is.TotalExclusions},
		{'s', was.ConsecutiveSuccesses, is.ConsecutiveSuccesses},
		{'f', was.ConsecutiveFailures, is.ConsecutiveFailures},
	} {
		if c.was != c.is {
			fmt.Fprintf(rec.out, " %c%d", c.name, c.is)
		}
	}
	for _, change := range rec.changes {
		rec.out.WriteString(" " + change)
	}
	rec.out.WriteByte('\n')
	rec.counts, rec.changes = is, nil
}

func record(t *testing.T) []byte {
	var out bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		for program := range uint64(programs) {
			r := rand.New(rand.NewPCG(seed, program))
			rec := newRecorder(&out, r)
			// Some mostly fail, some mostly succeed.
			failures := []int{10, 30, 50, 80}[r.IntN(4)]
			for range 20 + r.IntN(100) {
				rec.step(failures)
			}
		}
	})
	return out.Bytes()
}

func TestTraces(t *testing.T) {
	traces := record(t)
	if *write {
		if err := os.WriteFile(golden, traces, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d programs, %d lines, %d bytes", programs, strings.Count(string(traces), "\n"), len(traces))
		return
	}
	was, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(was, traces) {
		t.Fatal("the file differs from what gobreaker does; write it anew with -write")
	}
}
