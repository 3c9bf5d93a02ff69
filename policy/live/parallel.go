package live

import (
	"runtime"
	"sync"
)

// serialBelow is the number of documents from which reading them on all
// processors pays.
const serialBelow = 256

// parallel calls f for 0 to n-1, on all processors if they are many.
func parallel(n int, f func(i int)) {
	if n < serialBelow {
		for i := range n {
			f(i)
		}
		return
	}
	workers := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				f(i)
			}
		})
	}
	wg.Wait()
}
