// SPDX-License-Identifier: Apache-2.0

#include "shim/idle.h"

#include "base/time.h"
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define QUIET (500 * NS_PER_MS)
/* What libuv's poll and our handlers may have used of the stack; the rest was never touched. */
#define STACK_BELOW (256 * 1024)
#define STACK_KEPT (8 * 1024)

struct Idle {
	LoopTimer *timer;
	uv_prepare_t prepare;
	bool armed; // the timer runs
	bool again; // something has happened since it was started
	bool own;   // this turn of the loop is the timer's
};

/* Parts of the program and its libraries. */
typedef struct {
	uintptr_t start, end;
	bool writable;
} Segment;

#define MAX_SEGMENTS 24

typedef struct {
	uintptr_t page;
	unsigned n;
	Segment segment[MAX_SEGMENTS];
} Segments;

static int add_segments(struct dl_phdr_info *info, size_t size, void *data)
{
	Segments *s = data;
	for (int i = 0; i < info->dlpi_phnum && s->n < MAX_SEGMENTS; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + ph->p_vaddr, end = start + ph->p_filesz;
		if (ph->p_type == PT_LOAD)
			s->segment[s->n++] = (Segment){.start = start & ~(s->page - 1),
			                               .end = (end + s->page - 1) & ~(s->page - 1),
			                               .writable = (ph->p_flags & PF_W) != 0};
	}
	return 0;
}

/* Of a segment that may be written, what has not been: those pages are the file's still (pagemap's bit 61).
 */
static void drop_unwritten(const Segments *s, const Segment *segment, int pagemap)
{
	for (uintptr_t p = segment->start; p < segment->end; p += s->page) {
		uint64_t entry = 0;
		const uint64_t present = UINT64_C(1) << 63, file = UINT64_C(1) << 61;
		off_t at = (off_t)(p / s->page * sizeof entry);
		if (pread(pagemap, &entry, sizeof entry, at) == sizeof entry &&
		    (entry & (present | file)) == (present | file))
			madvise((void *)p, s->page, MADV_DONTNEED);
	}
}

/* The stack below us holds nothing: deeper calls have returned. */
static void drop_stack(uintptr_t page)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	uintptr_t end = (here - STACK_KEPT) & ~(page - 1);
	madvise((void *)(end - STACK_BELOW), STACK_BELOW, MADV_DONTNEED);
}

static void drop_written_files(const Segments *s)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	for (unsigned i = 0; pagemap >= 0 && i < s->n; i++)
		if (s->segment[i].writable)
			drop_unwritten(s, &s->segment[i], pagemap);
	if (pagemap >= 0)
		close(pagemap);
}

/* What of the written parts nobody needs; finds the segments. */
static void drop_writable(Segments *ret)
{
	*ret = (Segments){.page = (uintptr_t)sysconf(_SC_PAGESIZE)};
	dl_iterate_phdr(add_segments, ret);
	drop_written_files(ret);
	drop_stack(ret->page);
}

/* Text and constants are clean pages of files: the kernel drops them from our tables, not from its cache. */
static void drop_read_only(const Segments *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (!s->segment[i].writable)
			madvise((void *)s->segment[i].start, s->segment[i].end - s->segment[i].start,
			        MADV_DONTNEED);
}

/* Then the loop's sleep is slept here, so that hardly anything is read back before something happens: the
 * loop finds its epoll ready when we return. (uv_backend_timeout is 0 where the loop has yet to tell epoll
 * about a watcher.) */
static void drop_and_sleep(const Segments *s, uv_loop_t *uv)
{
	struct pollfd backend = {.fd = uv_backend_fd(uv), .events = POLLIN};
	int timeout = uv_backend_timeout(uv);
	if (timeout == 0)
		return;
	drop_read_only(s);
	poll(&backend, 1, timeout);
	uv_update_time(uv); // the loop would sleep until its timers' due time once more
}

static void on_quiet(void *data)
{
	Idle *idle = data;
	idle->own = true;
	if (idle->again) { // cheaper than restarting the timer at every event
		idle->again = false;
		loop_timer_start(idle->timer, QUIET, 0);
		return;
	}
	idle->armed = false;
	malloc_trim(0);
	Segments segments;
	drop_writable(&segments);
	drop_and_sleep(&segments, idle->prepare.loop);
}

void idle_drop(void)
{
	Segments segments;
	drop_writable(&segments);
	drop_read_only(&segments);
}

/* Each turn of the loop, before it sleeps. */
static void on_prepare(uv_prepare_t *prepare)
{
	Idle *idle = prepare->data;
	if (idle->own) {
		idle->own = false;
		return;
	}
	idle->again = idle->armed;
	if (!idle->armed)
		loop_timer_start(idle->timer, QUIET, 0);
	idle->armed = true;
}

Idle *idle_new(Loop *loop)
{
	Idle *idle = g_new0(Idle, 1);
	idle->timer = loop_timer_new(loop, on_quiet, idle);
	uv_prepare_init(loop_uv(loop), &idle->prepare);
	idle->prepare.data = idle;
	uv_prepare_start(&idle->prepare, on_prepare);
	return idle;
}
