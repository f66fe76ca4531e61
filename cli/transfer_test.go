package cli

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestATransferLastsAsLongAsItMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const steps = 20
		r, w := io.Pipe()
		go func() {
			for range steps {
				time.Sleep(changeTimeout - time.Second)
				w.Write([]byte("."))
			}
			w.Close()
		}()
		var got []byte
		begun := time.Now()
		err := transfer(t.Context(), func(ctx context.Context, watch func(io.Reader) io.Reader) (err error) {
			context.AfterFunc(ctx, func() { r.CloseWithError(ctx.Err()) })
			got, err = io.ReadAll(watch(r))
			return err
		})
		if err != nil || len(got) != steps || time.Since(begun) < changeTimeout {
			t.Errorf("read %q in %v: %v", got, time.Since(begun), err)
		}
	})
}

func TestATransferThatStandsStillEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		err := transfer(t.Context(), func(ctx context.Context, watch func(io.Reader) io.Reader) error {
			<-ctx.Done()
			return errors.New("read tcp: use of closed connection")
		})
		if !errors.Is(err, errStalled) || time.Since(begun) != changeTimeout {
			t.Errorf("it ended after %v with %v", time.Since(begun), err)
		}
	})
}
