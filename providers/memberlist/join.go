package memberlist

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/granary-go/granary/core"
)

// Back-off between rounds over the seeds.
const (
	joinFirst = 50 * time.Millisecond
	joinMost  = 2 * time.Second
	joinQuiet = time.Second // nothing is said of seeds that start at about the same time
)

// join contacts the seeds until one answers, somebody else has contacted this node, or ctx ends. With
// no seed but itself this is the first member, and is alone for now.
func (s *session) join(ctx context.Context) error {
	if len(s.cfg.Seeds) == 0 {
		return nil
	}
	defer context.AfterFunc(ctx, s.trans.abort)() // a stream to a silent seed ends with ctx
	var last error
	began := s.env.Clock.Now()
	for pause := joinFirst; ; pause = min(2*pause, joinMost) {
		joined, err := s.round(ctx)
		switch {
		case joined && err == nil:
			s.outage.over()
			return nil
		case joined, errors.Is(err, core.ErrConflict):
			return err
		case err != nil:
			last = err
			if s.env.Clock.Now().Sub(began) >= joinQuiet {
				s.outage.fails(err)
			}
		}
		timer := make(chan struct{})
		stop := s.env.Clock.AfterFunc(jitter(s.env.Rand, pause), func() { close(timer) })
		select {
		case <-timer:
		case <-s.wake: // somebody may be here
		case <-ctx.Done():
			stop()
			return fmt.Errorf("none of the seeds %q answered (last: %v): %w: %w", s.cfg.Seeds, last, core.ErrUnreachable, context.Cause(ctx))
		}
		stop()
	}
}

// round contacts each seed once, in random order, until one has answered.
func (s *session) round(ctx context.Context) (joined bool, err error) {
	var addresses []string
	others := false
	for _, seed := range s.cfg.Seeds {
		found, lookupErr := s.resolve(seed)
		if lookupErr != nil {
			others, err = true, lookupErr
		}
		for _, address := range found {
			if address != s.address {
				addresses = append(addresses, address)
			}
		}
	}
	if len(addresses) == 0 && !others {
		return true, nil // the only seed is this member itself
	}
	s.env.Rand.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
	for _, address := range addresses {
		if ctx.Err() != nil {
			break
		}
		if !slices.Contains(s.contacted, address) {
			s.contacted = append(s.contacted, address)
		}
		if _, contactErr := s.list.Join([]string{address}); contactErr != nil {
			err = contactErr
			continue
		}
		return true, s.conflicted()
	}
	if taken := s.conflicted(); taken != nil {
		return false, taken
	}
	if s.nodes.Load() > 1 {
		return true, nil // another member found this one
	}
	return false, err
}

// conflicted tells whether the ID of this process was found to be another's.
func (s *session) conflicted() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// resolve gives the addresses of a seed as ip:port.
func (s *session) resolve(seed string) ([]string, error) {
	host, port, err := splitHostPort(seed)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); ip != nil {
		return []string{net.JoinHostPort(ip.String(), strconv.Itoa(int(port)))}, nil
	}
	found, err := s.trans.lookup(host)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(found))
	for _, ip := range found {
		out = append(out, net.JoinHostPort(ip.String(), strconv.Itoa(int(port))))
	}
	return out, nil
}

// contact exchanges states with whoever is at address, unless that is in the pool already. An error
// says that nobody answered.
func (s *session) contact(address string, present map[string]bool) error {
	found, err := s.resolve(address)
	for _, at := range found {
		if present[at] {
			return nil
		}
		if _, err = s.list.Join([]string{at}); err == nil {
			return nil
		}
	}
	if err != nil {
		s.debug("nobody answers who is not in the pool", address, err)
	}
	return err
}

// jitter is a random time from d/2 to d.
func jitter(r *rand.Rand, d time.Duration) time.Duration {
	return d/2 + time.Duration(r.Int64N(int64(d/2)+1))
}
