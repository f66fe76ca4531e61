package api

import (
	"fmt"
	"sync"
	"testing"

	"ddocker/engine/enginetest"
)

// limits returns what the engine and the ledger have of a container.
func (h *agent) limits(name string) string {
	e, p := h.inspect(name).HostConfig, h.w.placement(name)
	return fmt.Sprintf("engine: cpuset %q, %d nano, %d bytes; ledger: cores %q, %d milli, %d bytes",
		e.CpusetCpus, e.NanoCpus, e.Memory, p.Grant.Cores, p.Grant.MilliCPU, p.Grant.Memory)
}

func (h *agent) wantLimits(name, want string) {
	h.w.Helper()
	if got := h.limits(name); got != want {
		h.w.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLimitsChangeThroughTheLedger(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", `{"Image":"busybox","Labels":{"ddocker.node":"n2"},"HostConfig":{"NanoCpus":1000000000,"Memory":1073741824}}`)
		h.create("log", on("n2"))
		h.want(204, "", post, "/containers/log/start", "")
		for _, c := range []struct{ body, want string }{
			{`{"nanocpus":2000000000}`, `engine: cpuset "0-1", 2000000000 nano, 1073741824 bytes; ledger: cores "0-1", 0 milli, 1073741824 bytes`},
			{`{"CpusetCpus":"2","Memory":2147483648}`, `engine: cpuset "2", 1000000000 nano, 2147483648 bytes; ledger: cores "2", 0 milli, 2147483648 bytes`},
			{`{"CpuQuota":150000}`, `engine: cpuset "0-3", 1500000000 nano, 2147483648 bytes; ledger: cores "", 1500 milli, 2147483648 bytes`},
			{`{"CpuQuota":0,"Memory":0,"RestartPolicy":{"Name":"always"}}`, `engine: cpuset "0-3", 1500000000 nano, 2147483648 bytes; ledger: cores "", 1500 milli, 2147483648 bytes`},
			{`{"NanoCpus":3000000000}`, `engine: cpuset "0-2", 3000000000 nano, 2147483648 bytes; ledger: cores "0-2", 0 milli, 2147483648 bytes`},
		} {
			h.want(200, "", post, "/containers/web/update", c.body)
			w.settle()
			h.wantLimits("web", c.want)
		}
		if got := h.inspect("log").HostConfig.CpusetCpus; got != "3" {
			t.Errorf("who shares runs on %q", got)
		}
	})
}

func TestGrownLimitsMustBeFree(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", `{"Image":"busybox","Labels":{"ddocker.node":"n2"},"HostConfig":{"NanoCpus":1000000000,"Memory":1073741824}}`)
		h.create("db", `{"Image":"busybox","Labels":{"ddocker.node":"n2"},"HostConfig":{"NanoCpus":2000000000,"Memory":8589934592}}`)
		before := h.limits("web")
		for body, words := range map[string]string{
			`{"NanoCpus":3000000000}`:  "container web stays as it is, for 3 cores, 1 GB is not free: n2 has 2 cores free",
			`{"Memory":17179869184}`:   "n2 has 8 GB free",
			`{"CpusetCpus":"1-2"}`:     "n2 has some of cores 1-2 in use",
			`{"Memory":1099511627776}`: "n2 has only 16 GB in all",
		} {
			h.want(503, words, post, "/containers/web/update", body)
			h.wantLimits("web", before)
		}
		h.want(400, "", post, "/containers/web/update", `{"CpusetCpus":"x"}`)
		h.want(404, "No such container", post, "/containers/nobody/update", `{"Memory":17179869184}`)
		// The engine refuses what the ledger would grant: the grant is taken back.
		h.want(400, "Minimum memory limit", post, "/containers/web/update", `{"Memory":1,"NanoCpus":2000000000}`)
		h.wantLimits("web", before)
	})
}

func TestAnUpdateWithoutAnAnswerGivesNothingAway(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.create("web", `{"Image":"busybox","HostConfig":{"NanoCpus":3000000000}}`)
		h.twin.FailAfterSuccess(enginetest.Update)
		h.want(500, "after the fact", post, "/containers/web/update", `{"NanoCpus":4000000000}`)
		h.wantLimits("web", `engine: cpuset "0-3", 4000000000 nano, 0 bytes; ledger: cores "0-3", 0 milli, 0 bytes`)
		var asking sync.WaitGroup // what is asked at once is done one after the other
		for range 3 {
			asking.Go(func() { h.want(200, "", post, "/containers/web/update", `{"NanoCpus":2000000000}`) })
		}
		asking.Wait()
		h.wantLimits("web", `engine: cpuset "0-1", 2000000000 nano, 0 bytes; ledger: cores "0-1", 0 milli, 0 bytes`)
		h.create("other", `{"Image":"busybox","HostConfig":{"NanoCpus":2000000000}}`)
		h.wantLimits("other", `engine: cpuset "2-3", 0 nano, 0 bytes; ledger: cores "2-3", 0 milli, 0 bytes`)
	})
}

func TestAQuotaChangesInItsOwnForm(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.create("web", `{"Image":"busybox","HostConfig":{"CpuQuota":50000,"CpuPeriod":100000}}`)
		for _, c := range []struct {
			body          string
			quota, period int64
			ledger        string
		}{
			{`{"CpuPeriod":40000}`, 50000, 40000, `cores "", 1250 milli`},
			{`{"Memory":1073741824}`, 50000, 40000, `cores "", 1250 milli`},
			{`{"CpuQuota":33333}`, 33333, 40000, `cores "", 834 milli`},
			{`{"NanoCpus":1500000000}`, 60000, 40000, `cores "", 1500 milli`},
			{`{"CpuQuota":200000,"CpuPeriod":100000}`, 200000, 100000, `cores "0-1", 0 milli`},
			{`{"CpusetCpus":"3"}`, 100000, 100000, `cores "3", 0 milli`},
		} {
			h.want(200, "", post, "/containers/web/update", c.body)
			p, e := w.placement("web"), h.inspect("web").HostConfig
			if got := fmt.Sprintf("cores %q, %d milli", p.Grant.Cores, p.Grant.MilliCPU); got != c.ledger || e.CPUQuota != c.quota || e.CPUPeriod != c.period || e.NanoCpus != 0 {
				t.Errorf("%s: ledger: %s, engine: %+v", c.body, got, e)
			}
		}
		before := *w.placement("web")
		h.want(503, "is not free", post, "/containers/web/update", `{"CpuPeriod":10000}`) // ten cores
		if p := w.placement("web"); !p.Grant.Cores.Equal(before.Grant.Cores) {
			t.Errorf("the ledger holds %+v", p.Grant)
		}
		h.create("log", `{"Image":"busybox","HostConfig":{"NanoCpus":500000000}}`)
		h.want(409, "CPU Period cannot be updated", post, "/containers/log/update", `{"CpuPeriod":10000}`)
	})
}
