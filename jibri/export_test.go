package jibri

// Tasks returns how many meetings the scheduler keeps something for.
func (s *Scheduler) Tasks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tasks)
}
