package oracle

// A random is splitmix64: its numbers never change with a version of Go.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to n-1.
func (r *random) below(n int64) int64 { return int64(r.next() % uint64(n)) }

// chance is true in percent of a hundred cases.
func (r *random) chance(percent int64) bool { return r.below(100) < percent }

// unit returns a float from 0 to 1.
func (r *random) unit() float64 { return float64(r.next()>>11) / (1 << 53) }

func pick[T any](r *random, from ...T) T { return from[r.below(int64(len(from)))] }
