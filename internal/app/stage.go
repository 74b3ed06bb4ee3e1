package app

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// stage is a group of parts that are stopped together. Parts of another stage go
// on meanwhile: what a part uses ends after it.
type stage struct {
	// run starts a part, which works until its context ends. When it fails
	// before, all of usher stops.
	run func(part func(context.Context) error)
	// end stops the parts, waits for them and returns the first error.
	end func() error
}

// newStage returns a stage without parts. fail is called with the error of each
// part that fails.
func newStage(fail func(error)) stage {
	ctx, stop := context.WithCancel(context.Background())
	parts := new(errgroup.Group)
	return stage{
		run: func(part func(context.Context) error) {
			parts.Go(func() error {
				err := part(ctx)
				if err != nil {
					fail(err)
				}
				return err
			})
		},
		end: func() error {
			stop()
			return parts.Wait()
		},
	}
}
