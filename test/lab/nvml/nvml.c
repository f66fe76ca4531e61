// libnvidia-ml.so.1 for machines without a card: it reads the cards from the text
// file that FAKE_NVML names, anew at every call, so that a test changes the machine by
// replacing the file. lab.sh builds it against NVML's own header, so that the compiler
// holds every signature here to NVIDIA's. A function that is not here is absent, as in
// an old driver.
//
// A line of the file is one word and what is set of it, KEY=VALUE; sizes are in MiB:
//
//	driver VERSION                550.54.15
//	cuda VERSION                  12.4
//	gpu [uuid= mem= used= util= temp= power= numa= bus= fault=ERROR] [model=NAME to the end of the line]
//	mig [gpu=INDEX uuid= mem= used=] model=…     a device of the last gpu, or of that index
//	process pid= [gpu=INDEX mig=INDEX mem=]      uses the last gpu or mig, or that one
//	link A B LEVEL                how near two gpus are: nvlink, or a number of nvmlGpuTopologyLevel_t
//	fault init=ERROR | fault call=ERROR | fault exit=CODE | fault hang
//
// ERROR is a number of nvmlReturn_t: 9 no driver, 15 lost, 999 unknown. A call hangs
// until the file no longer says so; exit ends the process. Cards without a UUID are
// called after the host and their index: GPU-h1-0, MIG-h1-0-1.
#define NVML_NO_UNVERSIONED_FUNC_DEFS 1
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nvml.h"

enum { MOST_GPUS = 16, MOST_MIGS = 8, MOST_LINES = 128, WHOLE = -1 };

struct card {
	int lost, numa, temp, power, util;
	unsigned bus;
	unsigned long long mem, used;
	char uuid[80], model[96];
};

struct process {
	int gpu, mig;
	unsigned pid;
	unsigned long long mem;
};

struct link {
	int a, b, level; // level -1: NVLink
};

static struct machine {
	char driver[80];
	int cuda, gpus, migs[MOST_GPUS], processes, links;
	int init, call, hang, quit;
	struct card card[MOST_GPUS][1 + MOST_MIGS]; // the GPU, then its MIG devices
	struct process process[MOST_LINES];
	struct link link[MOST_LINES];
} m;

// handles are what the caller gets: never looked into, only counted.
static char handles[MOST_GPUS * (1 + MOST_MIGS)];
#define HANDLE(gpu, mig) ((nvmlDevice_t){(void *)&handles[(gpu) * (1 + MOST_MIGS) + 1 + (mig)]})
#define PLACE(d) ((int)((char *)(d).handle - handles))
#define GPU(d) (PLACE(d) / (1 + MOST_MIGS))
#define MIG(d) (PLACE(d) % (1 + MOST_MIGS) - 1)
#define CARD(d) (&m.card[GPU(d)][1 + MIG(d)])

// value copies what follows KEY= in the line; it returns 0 where the key is missing.
static int value(const char *line, const char *key, char *to, size_t room) {
	char want[32];
	snprintf(want, sizeof want, " %s=", key);
	const char *at = strstr(line, want);
	if (!at) return 0;
	at += strlen(want);
	size_t n = strcmp(key, "model") ? strcspn(at, " \t\n") : strcspn(at, "\n");
	snprintf(to, room, "%.*s", (int)n, at);
	return 1;
}

static long long number(const char *line, const char *key, long long otherwise) {
	char text[32];
	return value(line, key, text, sizeof text) ? atoll(text) : otherwise;
}

static int within(long long n, int most) { return n < 0 ? 0 : n >= most ? most - 1 : (int)n; }

static void read_card(const char *line, int gpu, int mig) {
	char host[32] = "host", bus[32];
	gethostname(host, sizeof host - 1);
	struct card *c = &m.card[gpu][1 + mig];
	if (mig == WHOLE) snprintf(c->uuid, sizeof c->uuid, "GPU-%s-%d", host, gpu);
	else snprintf(c->uuid, sizeof c->uuid, "MIG-%s-%d-%d", host, gpu, mig);
	snprintf(c->model, sizeof c->model, "NVIDIA TITAN Xp");
	value(line, "uuid", c->uuid, sizeof c->uuid);
	value(line, "model", c->model, sizeof c->model);
	c->mem = (unsigned long long)number(line, "mem", 12288) << 20;
	c->used = (unsigned long long)number(line, "used", 0) << 20;
	c->util = (int)number(line, "util", 0);
	c->temp = (int)number(line, "temp", 30);
	c->power = (int)number(line, "power", 10) * 1000;
	c->numa = (int)number(line, "numa", 0);
	c->lost = (int)number(line, "fault", 0);
	c->bus = value(line, "bus", bus, sizeof bus) ? (unsigned)strtoul(bus, NULL, 16) : 0x3b + (unsigned)gpu;
}

static void read_line(const char *line) {
	int last = m.gpus - 1, a, b, n = 0;
	if (sscanf(line, "driver %79s", m.driver) == 1) return;
	if (sscanf(line, "cuda %d.%d", &a, &b) == 2) {
		m.cuda = 1000 * a + 10 * b;
	} else if (!strncmp(line, "gpu", 3) && m.gpus < MOST_GPUS) {
		read_card(line, m.gpus++, WHOLE);
	} else if (!strncmp(line, "mig", 3) && m.gpus) {
		a = within(number(line, "gpu", last), m.gpus);
		if (m.migs[a] < MOST_MIGS) read_card(line, a, m.migs[a]), m.migs[a]++;
	} else if (!strncmp(line, "process", 7) && m.processes < MOST_LINES) {
		a = within(number(line, "gpu", last), MOST_GPUS);
		m.process[m.processes++] = (struct process){
			a, (int)number(line, "mig", m.migs[a] - 1), (unsigned)number(line, "pid", 0),
			(unsigned long long)number(line, "mem", 100) << 20};
	} else if (sscanf(line, "link %d %d %n", &a, &b, &n) == 2 && n && m.links < MOST_LINES) {
		m.link[m.links++] = (struct link){a, b, strncmp(line + n, "nvlink", 6) ? atoi(line + n) : -1};
	} else if (!strncmp(line, "fault", 5)) {
		m.hang |= strstr(line, " hang") != NULL;
		m.init = (int)number(line, "init", m.init);
		m.call = (int)number(line, "call", m.call);
		m.quit = (int)number(line, "exit", m.quit);
	}
}

// look reads the file, and does what it says happens to whoever calls the driver.
static nvmlReturn_t look(void) {
	const char *name = getenv("FAKE_NVML");
	char line[512];
	do {
		if (m.hang) usleep(20000);
		memset(&m, 0, sizeof m);
		snprintf(m.driver, sizeof m.driver, "550.54.15");
		m.cuda = 12040;
		FILE *f = name ? fopen(name, "r") : NULL;
		if (!f) return NVML_ERROR_DRIVER_NOT_LOADED;
		while (fgets(line, sizeof line, f)) read_line(line);
		fclose(f);
	} while (m.hang);
	if (m.quit) {
		fprintf(stderr, "symbol lookup error: undefined symbol: nvmlFake\n");
		_exit(m.quit);
	}
	return m.call;
}

// find looks, and refuses a device that is no longer there.
static nvmlReturn_t find(nvmlDevice_t d) {
	nvmlReturn_t r = look();
	if (r) return r;
	if (PLACE(d) < 0 || PLACE(d) >= (int)sizeof handles) return NVML_ERROR_INVALID_ARGUMENT;
	if (GPU(d) >= m.gpus || MIG(d) >= m.migs[GPU(d)]) return NVML_ERROR_GPU_IS_LOST;
	if (m.card[GPU(d)][0].lost) return m.card[GPU(d)][0].lost;
	return CARD(d)->lost;
}
#define FIND(d) do { nvmlReturn_t r = find(d); if (r) return r; } while (0)
#define LOOK() do { nvmlReturn_t r = look(); if (r) return r; } while (0)
#define WHOLE_ONLY(d) do { if (MIG(d) != WHOLE) return NVML_ERROR_NOT_SUPPORTED; } while (0)

static nvmlReturn_t text(char *to, unsigned room, const char *from) {
	if (strlen(from) >= room) return NVML_ERROR_INSUFFICIENT_SIZE;
	strcpy(to, from);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlInit_v2(void) {
	nvmlReturn_t r = look();
	return m.init ? (nvmlReturn_t)m.init : r;
}

const char *nvmlErrorString(nvmlReturn_t r) {
	switch (r) {
	case NVML_SUCCESS: return "Success";
	case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
	case NVML_ERROR_NOT_FOUND: return "Not Found";
	case NVML_ERROR_DRIVER_NOT_LOADED: return "Driver Not Loaded";
	case NVML_ERROR_GPU_IS_LOST: return "GPU is lost";
	case NVML_ERROR_INSUFFICIENT_SIZE: return "Insufficient Size";
	case NVML_ERROR_INVALID_ARGUMENT: return "Invalid Argument";
	default: return "Unknown Error";
	}
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *to, unsigned room) { LOOK(); return text(to, room, m.driver); }
nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version) { LOOK(); *version = m.cuda; return NVML_SUCCESS; }

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) { LOOK(); *count = (unsigned)m.gpus; return NVML_SUCCESS; }

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *d) {
	LOOK();
	if (index >= (unsigned)m.gpus) return NVML_ERROR_INVALID_ARGUMENT;
	*d = HANDLE(index, WHOLE);
	return m.card[index][0].lost;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t d, char *to, unsigned room) { FIND(d); return text(to, room, CARD(d)->model); }
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t d, char *to, unsigned room) { FIND(d); return text(to, room, CARD(d)->uuid); }

static void pci(const struct card *c, nvmlPciInfo_t *to) {
	memset(to, 0, sizeof *to);
	to->bus = c->bus;
	snprintf(to->busId, sizeof to->busId, "00000000:%02X:00.0", c->bus);
	snprintf(to->busIdLegacy, sizeof to->busIdLegacy, "0000:%02X:00.0", c->bus);
}
nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t d, nvmlPciInfo_t *to) { FIND(d); pci(&m.card[GPU(d)][0], to); return NVML_SUCCESS; }

nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t d, unsigned words, unsigned long *set, nvmlAffinityScope_t scope) {
	(void)scope;
	FIND(d);
	if (!words) return NVML_ERROR_INSUFFICIENT_SIZE;
	memset(set, 0, words * sizeof *set);
	if (m.card[GPU(d)][0].numa < 0) return NVML_ERROR_NOT_SUPPORTED;
	set[0] = 1UL << m.card[GPU(d)][0].numa;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t d, nvmlMemory_t *to) {
	FIND(d);
	*to = (nvmlMemory_t){.total = CARD(d)->mem, .used = CARD(d)->used};
	to->free = to->total - to->used;
	return NVML_SUCCESS;
}

// A GPU that is cut into MIG devices tells no utilization, and neither do they.
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t d, nvmlUtilization_t *to) {
	FIND(d);
	if (MIG(d) != WHOLE || m.migs[GPU(d)]) return NVML_ERROR_NOT_SUPPORTED;
	*to = (nvmlUtilization_t){.gpu = (unsigned)CARD(d)->util};
	return CARD(d)->util < 0 ? NVML_ERROR_NOT_SUPPORTED : NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, nvmlTemperatureSensors_t sensor, unsigned *to) {
	(void)sensor;
	FIND(d);
	WHOLE_ONLY(d);
	*to = (unsigned)CARD(d)->temp;
	return CARD(d)->temp < 0 ? NVML_ERROR_NOT_SUPPORTED : NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned *to) { FIND(d); WHOLE_ONLY(d); *to = (unsigned)CARD(d)->power; return NVML_SUCCESS; }

static const struct link *linked(int a, int b) {
	for (int i = 0; i < m.links; i++)
		if ((m.link[i].a == a && m.link[i].b == b) || (m.link[i].a == b && m.link[i].b == a)) return &m.link[i];
	return NULL;
}

nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t d, nvmlDevice_t e, nvmlGpuTopologyLevel_t *to) {
	FIND(d);
	FIND(e);
	const struct link *l = linked(GPU(d), GPU(e));
	int near = m.card[GPU(d)][0].numa == m.card[GPU(e)][0].numa;
	*to = GPU(d) == GPU(e) ? NVML_TOPOLOGY_INTERNAL : near ? NVML_TOPOLOGY_NODE : NVML_TOPOLOGY_SYSTEM;
	if (l && l->level >= 0) *to = (nvmlGpuTopologyLevel_t)l->level;
	return NVML_SUCCESS;
}

// peer is the GPU at the other end of a card's n-th NVLink, -1: that link is down.
static int peer(int gpu, unsigned n) {
	for (int i = 0; i < m.links; i++)
		if (m.link[i].level < 0 && (m.link[i].a == gpu || m.link[i].b == gpu) && !n--)
			return m.link[i].a == gpu ? m.link[i].b : m.link[i].a;
	return -1;
}

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t d, unsigned n, nvmlEnableState_t *to) {
	FIND(d);
	if (!m.links || n >= NVML_NVLINK_MAX_LINKS) return NVML_ERROR_NOT_SUPPORTED;
	*to = peer(GPU(d), n) < 0 ? NVML_FEATURE_DISABLED : NVML_FEATURE_ENABLED;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t d, unsigned n, nvmlPciInfo_t *to) {
	FIND(d);
	int other = peer(GPU(d), n);
	if (other < 0 || other >= m.gpus) return NVML_ERROR_NOT_SUPPORTED;
	pci(&m.card[other][0], to);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t d, unsigned *now, unsigned *then) {
	FIND(d);
	*now = *then = m.migs[GPU(d)] > 0;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t d, unsigned *count) { FIND(d); *count = m.migs[GPU(d)] ? MOST_MIGS : 0; return NVML_SUCCESS; }

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t d, unsigned index, nvmlDevice_t *mig) {
	FIND(d);
	if (index >= (unsigned)m.migs[GPU(d)]) return NVML_ERROR_NOT_FOUND;
	*mig = HANDLE(GPU(d), (int)index);
	return NVML_SUCCESS;
}

// The slices of a MIG device are in its name: "… MIG 3g.40gb", "… MIG 1c.3g.40gb".
nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t d, nvmlDeviceAttributes_t *to) {
	FIND(d);
	if (MIG(d) == WHOLE) return NVML_ERROR_NOT_SUPPORTED;
	const char *profile = strstr(CARD(d)->model, "MIG ");
	int slices = profile ? atoi(profile + 4) : 1;
	*to = (nvmlDeviceAttributes_t){.gpuInstanceSliceCount = (unsigned)slices, .computeInstanceSliceCount = (unsigned)slices,
		.multiprocessorCount = 14 * (unsigned)slices, .memorySizeMB = CARD(d)->mem >> 20};
	return NVML_SUCCESS;
}

// A whole GPU tells of the processes on its MIG devices too.
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t d, unsigned *count, nvmlProcessInfo_t *to) {
	FIND(d);
	unsigned n = 0;
	for (int i = 0; i < m.processes; i++) {
		const struct process *p = &m.process[i];
		if (p->gpu != GPU(d) || (MIG(d) != WHOLE && p->mig != MIG(d))) continue;
		if (n < *count) to[n] = (nvmlProcessInfo_t){.pid = p->pid, .usedGpuMemory = p->mem,
			.gpuInstanceId = p->mig == WHOLE ? ~0U : (unsigned)p->mig + 1, .computeInstanceId = p->mig == WHOLE ? ~0U : 0};
		n++;
	}
	int fits = n <= *count;
	*count = n;
	return fits ? NVML_SUCCESS : NVML_ERROR_INSUFFICIENT_SIZE;
}
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t d, unsigned *count, nvmlProcessInfo_t *to) { (void)to; FIND(d); *count = 0; return NVML_SUCCESS; }
