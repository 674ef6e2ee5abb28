// Deterministic work for Go: goroutines and channels, maps, sorting, interfaces, strings, hashing, deferred calls,
// big numbers and enough garbage for the collector. Prints as it goes.
package main

import (
	"crypto/sha256"
	"fmt"
	"math/big"
	"sort"
	"strings"
)

type random uint64

func (r *random) below(limit uint64) uint64 {
	*r = *r*6364136223846793005 + 1442695040888963407
	return uint64(*r>>33) % limit
}

type node struct {
	left, right *node
	value       uint64
}

func (n *node) insert(value uint64) *node {
	if n == nil {
		return &node{value: value}
	}
	if value < n.value {
		n.left = n.left.insert(value)
	} else {
		n.right = n.right.insert(value)
	}
	return n
}

func (n *node) depth() int {
	if n == nil {
		return 0
	}
	return 1 + max(n.left.depth(), n.right.depth())
}

// Primes by a chain of goroutines, one for each prime.
func primes(count int) int {
	source := make(chan int)
	stop := make(chan struct{})
	defer close(stop)
	send := func(out chan<- int, number int) bool {
		select {
		case out <- number:
			return true
		case <-stop:
			return false
		}
	}
	go func() {
		for number := 2; send(source, number); number++ {
		}
	}()
	last, in := 0, source
	for range count {
		prime := <-in
		out := make(chan int)
		go func(in <-chan int) {
			for {
				select {
				case number := <-in:
					if number%prime != 0 && !send(out, number) {
						return
					}
				case <-stop:
					return
				}
			}
		}(in)
		last, in = prime, out
	}
	return last
}

func words(r *random) string {
	counts := map[string]int{}
	var text strings.Builder
	for range 40000 {
		text.WriteByte("abcdefgh  "[r.below(10)])
	}
	for _, word := range strings.Fields(text.String()) {
		counts[word]++
	}
	keys := make([]string, 0, len(counts))
	for word := range counts {
		keys = append(keys, word)
	}
	sort.Slice(keys, func(i, j int) bool {
		if counts[keys[i]] != counts[keys[j]] {
			return counts[keys[i]] > counts[keys[j]]
		}
		return keys[i] < keys[j]
	})
	return strings.Join(keys[:20], " ")
}

func recovered(depth int) (message string) {
	defer func() {
		if reason := recover(); reason != nil {
			message = fmt.Sprint(reason, "/", depth)
		}
	}()
	numbers := make([]int, depth)
	return fmt.Sprint(numbers[depth*2])
}

func main() {
	r, digest := random(3), sha256.New()
	for step := 1; step <= 6; step++ {
		var tree *node
		for range 20000 {
			tree = tree.insert(r.below(1 << 30))
		}
		factorial := new(big.Int).MulRange(1, 600+int64(step))
		fmt.Fprintln(digest, tree.depth(), primes(60), words(&r), recovered(step), factorial)
		fmt.Printf("step %d: %x\n", step, digest.Sum(nil)[:16])
	}
}
