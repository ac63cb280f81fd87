// Package oracle records what golang.org/x/time/rate does, for Mizan's limiter to be held against.
// README.md says how a record reads.
package oracle

import (
	"context"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/time/rate"
)

// A reservation and what its limiter knew when it made it.
type reservation struct {
	of        *rate.Reservation
	n         int
	timeToAct time.Time
	limit     rate.Limit
	index     int
}

// A program is a random walk over one limiter, written down as it goes.
type program struct {
	random
	out   io.Writer
	lim   *rate.Limiter
	now   time.Time
	held  []reservation
	made  int
	ended bool
}

// start begins a program whose clock shows now.
func start(out io.Writer, seed uint64, now time.Time) *program {
	p := &program{random: random(seed), out: out, now: now}
	limit, burst := p.limit(), p.burst()
	p.lim = rate.NewLimiter(limit, burst)
	fmt.Fprintf(out, "p %s %d\n", bits(float64(limit)), burst)
	return p
}

// limit returns a speed: none, tiny, fractional, whole, huge or without end.
func (p *program) limit() rate.Limit {
	switch p.below(16) {
	case 0:
		return 0
	case 1:
		return pick[rate.Limit](&p.random, 1e-10, 1e-300, 3e-5)
	case 2, 3:
		return rate.Every(time.Duration(1 + p.below(1e10)))
	case 4, 5, 6:
		return rate.Limit(p.unit() * 100)
	case 7:
		return pick[rate.Limit](&p.random, 1e9, 1e12, 1e300, 123456789.125)
	case 8:
		return rate.Inf
	default:
		return rate.Limit(1 + p.below(pick[int64](&p.random, 3, 20, 5000)))
	}
}

func (p *program) burst() int {
	return int(pick(&p.random, 0, 1, 1, 1, 2, 3, 5, 10, 10, 100, 1+p.below(1000), math.MaxInt32))
}

// tokens returns how many to ask for: mostly few, sometimes as many as there can be, or more.
func (p *program) tokens() int {
	burst := p.lim.Burst()
	switch p.below(12) {
	case 0:
		return 0
	case 1:
		return burst
	case 2:
		return burst + 1
	case 3, 4:
		return int(p.below(int64(burst) + 1))
	case 5:
		return int(1 + p.below(5))
	default:
		return 1
	}
}

// pause returns how much time passes: none, little, much, back, or until a held reservation acts.
func (p *program) pause(back bool) time.Duration {
	switch p.below(20) {
	case 0, 1, 2, 3, 4, 5:
		return 0
	case 6, 7:
		return time.Duration(p.below(2000))
	case 8, 9, 10:
		return time.Duration(p.below(1000)) * time.Millisecond
	case 11, 12:
		return time.Duration(p.below(5e9))
	case 13:
		return time.Duration(p.below(1e17))
	case 14:
		if p.chance(20) {
			return pick[time.Duration](&p.random, math.MaxInt64, math.MaxInt64-1, 1e18)
		}
		return time.Duration(p.below(1e12))
	case 15, 16:
		if back {
			return -time.Duration(p.below(pick[int64](&p.random, 10, 1e6, 1e9, 1e13)))
		}
		return time.Second
	default:
		if len(p.held) == 0 {
			return time.Duration(1+p.below(20)) * 100 * time.Millisecond
		}
		act := p.held[p.below(int64(len(p.held)))].timeToAct
		until := act.Sub(p.now) + time.Duration(p.below(3)-1)
		if until < 0 || until > 1e15 {
			return 0
		}
		return until
	}
}

// step does one thing at a time of its own.
func (p *program) step(back bool) {
	pause := p.pause(back)
	p.now = p.now.Add(pause)
	p.do(pause)
}

func (p *program) do(pause time.Duration) {
	switch p.below(20) {
	case 0, 1, 2, 3, 4:
		n := p.tokens()
		ok := 0
		if p.lim.AllowN(p.now, n) {
			ok = 1
		}
		p.write('a', pause, n, ok)
	case 5, 6, 7, 8, 9, 10, 11:
		p.reserve(pause)
	case 12, 13, 14, 15, 16:
		p.cancel(pause)
	case 17:
		limit := p.limit()
		p.lim.SetLimitAt(p.now, limit)
		p.write('l', pause, bits(float64(limit)))
	case 18:
		burst := p.burst()
		p.lim.SetBurstAt(p.now, burst)
		p.write('b', pause, burst)
	default:
		p.write('t', pause)
	}
}

func (p *program) reserve(pause time.Duration) {
	n, limit := p.tokens(), p.lim.Limit()
	r := p.lim.ReserveN(p.now, n)
	if !r.OK() {
		p.write('r', pause, n, "-")
		return
	}
	delay := r.DelayFrom(p.now)
	p.write('r', pause, n, int64(delay))
	p.held = append(p.held, reservation{r, n, p.now.Add(delay), limit, p.made})
	p.made++
}

// cancel gives up a held reservation, each at most once. One that gives back more than it took ends
// the program: Mizan's does not, so their ways part.
func (p *program) cancel(pause time.Duration) {
	if len(p.held) == 0 {
		p.write('t', pause)
		return
	}
	at := p.below(int64(len(p.held)))
	r := p.held[at]
	p.held = append(p.held[:at], p.held[at+1:]...)
	void := p.lim.Limit() == rate.Inf || r.n == 0 || r.timeToAct.Before(p.now)
	exceeds := r.limit == rate.Inf || (r.limit > 0 && p.lastEvent().Before(r.timeToAct))
	r.of.CancelAt(p.now)
	if !void && exceeds {
		p.write('x', pause, r.index)
		p.ended = true
		return
	}
	p.write('c', pause, r.index)
}

// lastEvent reads the limiter's private field: only to tell which cancellations part the ways.
func (p *program) lastEvent() time.Time {
	field := reflect.ValueOf(p.lim).Elem().FieldByName("lastEvent")
	return *(*time.Time)(unsafe.Pointer(field.UnsafeAddr()))
}

// A caller is a context whose deadline does not race with the limiter's own timer: it is over only
// if it was when the call began, or when it gives up.
type caller struct {
	context.Context
	deadline time.Time
	bounded  bool
}

func (c caller) Deadline() (time.Time, bool) { return c.deadline, c.bounded }

// wait calls WaitN and lets the time of its bubble pass; only inside synctest.
func (p *program) wait() {
	pause := p.pause(false)
	if pause > 1e15 {
		pause = time.Hour
	}
	time.Sleep(pause)
	p.now = time.Now()
	if p.chance(50) {
		p.do(pause)
		return
	}
	n := p.tokens()
	ctx, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	call := caller{Context: ctx}
	deadline, patience := "-", "-"
	if p.chance(60) {
		// Often the very wait that will be needed, or a nanosecond off.
		debt := float64(n) - p.lim.TokensAt(p.now)
		left := time.Duration(p.below(3e9) - 2e8)
		if limit := float64(p.lim.Limit()); debt > 0 && debt/limit < 1e6 && p.chance(60) {
			left = time.Duration(debt/limit*1e9) + time.Duration(p.below(3)-1)
		}
		call.deadline, call.bounded = p.now.Add(left), true
		deadline = strconv.FormatInt(int64(left), 10)
		if left <= 0 {
			giveUp()
		}
	}
	if !call.bounded || p.chance(30) {
		// Odd nanoseconds: never the same moment as the token's.
		after := time.Duration(p.below(4e9))*2 + 1_000_001
		patience = strconv.FormatInt(int64(after), 10)
		defer time.AfterFunc(after, giveUp).Stop()
	}
	err := p.lim.WaitN(call, n)
	took := time.Since(p.now)
	p.now = time.Now()
	p.write('w', pause, n, deadline, patience, outcome(err, took))
}

func outcome(err error, took time.Duration) string {
	switch {
	case err == nil:
		return strconv.FormatInt(int64(took), 10)
	case strings.Contains(err.Error(), "exceeds limiter's burst"):
		return "burst"
	case strings.Contains(err.Error(), "would exceed context deadline"):
		return "late"
	case took == 0:
		return "over"
	default:
		return "g" + strconv.FormatInt(int64(took), 10)
	}
}

// write notes a step: what, how long after the one before, with what, and the tokens after it.
func (p *program) write(what rune, pause time.Duration, of ...any) {
	fmt.Fprintf(p.out, "%c %d", what, int64(pause))
	for _, field := range of {
		fmt.Fprintf(p.out, " %v", field)
	}
	fmt.Fprintf(p.out, " %s\n", bits(p.lim.TokensAt(p.now)))
}

// bits are a float's, in hexadecimal, without the zeros at the end.
func bits(f float64) string {
	text := strings.TrimRight(fmt.Sprintf("%016x", math.Float64bits(f)), "0")
	if text == "" {
		return "0"
	}
	return text
}
