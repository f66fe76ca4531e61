// Package crash names the moments at which a machine may die in the middle of something:
// after and before everything that becomes durable or visible. Rooms that have such
// moments say so to the Point of their Config:
//
//	n.cfg.Crash.At(crash.CreateMade)
//
// In the world there is no Point, and At does nothing; tests give one that kills. So every
// step can be died at, one after another, and nothing may be left of it.
package crash

// Step is one such moment: the way that is gone, a dot, and what has just happened there,
// or is about to.
type Step string

// Point is what is done at a step, in the goroutine that has reached it. Nil: nothing.
type Point func(Step)

// At says that a step is reached. It is called with no lock held that others wait for
// without end.
func (p Point) At(s Step) {
	if p != nil {
		p(s)
	}
}
