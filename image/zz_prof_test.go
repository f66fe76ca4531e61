package image
import ("testing";"fmt";"strings";"time";"io")
func TestByHandProf(t *testing.T) {
		many := make([]entry, 100000)
		for i := range many { many[i] = file(fmt.Sprintf("many/%d/%d/file-%d", i%7, i%301, i), strings.Repeat(fmt.Sprint(i), i%500)) }
		m := newMade(t, t.Name(), tarOf(t, many...))
		root := t.TempDir()
		intoOverlay2(t, root, m)
		for range 3 {
		l := NewOverlay2(root)
		t0 := time.Now()
		_, err := l.Image(t.Context(), m.ID); must(t, err); t.Log("image", time.Since(t0)); t0 = time.Now()
		r, err := l.Open(t.Context(), m.ID, m.Layers[0].Chain, 0); must(t, err)
		n, err := io.Copy(io.Discard, r); must(t, err); r.Close()
		t.Log("read", n, time.Since(t0))
		}
}
