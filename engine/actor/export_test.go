package actor

// HeldChunks is the number of chunks that a local actor's idle mailbox keeps.
func HeldChunks(r *Ref) int {
	c := r.cell.Load()
	for {
		c.box.mu.Lock()
		idle := !c.box.scheduled
		n := 0
		for ch := c.box.head; ch != nil; ch = ch.next {
			n++
		}
		if idle && c.current != nil {
			n++
		}
		c.box.mu.Unlock()
		if idle {
			return n
		}
	}
}
