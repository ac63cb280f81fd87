// Command bench measures gobreaker and x/time/rate as mizan-bench measures ours: plain loops, one
// goroutine and two that share, several rounds. A line each: name, tab, nanoseconds of one
// goroutine, tab, of two; rounds separated by spaces.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
)

type subject struct {
	name   string
	decide func()
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: bench ROUNDS COUNT")
		os.Exit(2)
	}
	rounds, errRounds := strconv.Atoi(os.Args[1])
	count, errCount := strconv.Atoi(os.Args[2])
	if errRounds != nil || errCount != nil {
		fmt.Fprintln(os.Stderr, "ROUNDS and COUNT are numbers")
		os.Exit(2)
	}
	subjects := subjects()
	alone := make([][]string, len(subjects))
	shared := make([][]string, len(subjects))
	for range rounds {
		for i, s := range subjects {
			alone[i] = append(alone[i], measure(s.decide, 1, count))
			shared[i] = append(shared[i], measure(s.decide, 2, count))
		}
	}
	for i, s := range subjects {
		fmt.Printf("%s\t%s\t%s\n", s.name, strings.Join(alone[i], " "), strings.Join(shared[i], " "))
	}
}

func subjects() []subject {
	breaker := gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{})
	two := gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{})
	limiter := rate.NewLimiter(1e9, 1e9)
	well := func() (struct{}, error) { return struct{}{}, nil }
	return []subject{
		{"gobreaker v2.4 Execute (Go)", func() { _, _ = breaker.Execute(well) }},
		{"gobreaker v2.4 two-step Allow + done (Go)", func() {
			if done, err := two.Allow(); err == nil {
				done(nil)
			}
		}},
		{"x/time/rate Allow (Go)", func() { limiter.Allow() }},
	}
}

// measure gives the nanoseconds a decision takes, by the slowest of so many goroutines.
func measure(decide func(), goroutines, count int) string {
	loop := func(count int) {
		for range count {
			decide()
		}
	}
	var warm, done sync.WaitGroup
	begin := make(chan struct{})
	took := make([]time.Duration, goroutines)
	warm.Add(goroutines)
	for i := range goroutines {
		done.Go(func() {
			loop(count / 10)
			warm.Done()
			<-begin
			start := time.Now()
			loop(count)
			took[i] = time.Since(start)
		})
	}
	warm.Wait()
	close(begin)
	done.Wait()
	var slowest time.Duration
	for _, t := range took {
		slowest = max(slowest, t)
	}
	return fmt.Sprintf("%.2f", float64(slowest.Nanoseconds())/float64(count))
}
