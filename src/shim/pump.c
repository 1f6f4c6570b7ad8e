// SPDX-License-Identifier: Apache-2.0

#include "shim/pump.h"

#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#define SPLICE_MAX (64 * 1024)
/* At most PIPE_BUF into a pipe: such a write is all or nothing. */
#define COPY_PIPE 4096
#define COPY_FILE (16 * 1024)
/* How long to leave a terminal alone that nobody has open: polling its hang-up would burn CPU. */
#define HANGUP_WAIT_MIN (50 * NS_PER_MS)
#define HANGUP_WAIT_MAX (2 * NS_PER_SEC)

typedef enum {
	STEP_MOVED,
	STEP_WAIT_SRC,
	STEP_WAIT_DST,
	STEP_HANGUP,
	STEP_END,
} Step;

struct Pump {
	Loop *loop;
	PumpHow how;
	int src, dst;
	bool terminal, finishing, done, warned;
	uv_poll_t *src_poll, *dst_poll;
	LoopTimer *hangup_timer;
	int64_t hangup_wait;
	char *left; // read and not yet written
	size_t left_len;
	PumpDone on_done;
	void *data;
};

/* One for all pumps: used within one step only. */
static char buffer[COPY_FILE];

static void pump_run(Pump *pump);

static void handle_free_(uv_handle_t *handle)
{
	g_free(handle);
}

static void poll_close(uv_poll_t **poll)
{
	if (*poll != NULL)
		uv_close((uv_handle_t *)*poll, handle_free_);
	*poll = NULL;
}

static uv_poll_t *poll_open(Pump *pump, int fd)
{
	uv_poll_t *poll = g_new0(uv_poll_t, 1);
	poll->data = pump;
	if (uv_poll_init(loop_uv(pump->loop), poll, fd) == 0)
		return poll;
	g_free(poll); // a regular file, or /dev/null: always ready
	return NULL;
}

static void pump_close(Pump *pump)
{
	pump->done = true;
	poll_close(&pump->src_poll);
	poll_close(&pump->dst_poll);
	loop_timer_free(g_steal_pointer(&pump->hangup_timer));
	fd_close(&pump->src);
	fd_close(&pump->dst);
	g_clear_pointer(&pump->left, g_free);
}

static void pump_end(Pump *pump)
{
	if (pump->done)
		return;
	pump_close(pump);
	pump->on_done(pump, pump->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	Pump *pump = poll->data;
	if (pump->src_poll != NULL)
		uv_poll_stop(pump->src_poll);
	if (pump->dst_poll != NULL)
		uv_poll_stop(pump->dst_poll);
	pump_run(pump);
}

static void on_hangup_timer(void *data)
{
	pump_run(data);
}

static bool dst_is_full(const Pump *pump)
{
	struct pollfd p = {.fd = pump->dst, .events = POLLOUT};
	return pump->dst_poll != NULL && poll(&p, 1, 0) == 0;
}

static Step read_failed(const Pump *pump, ssize_t n)
{
	if (n == 0)
		return pump->terminal && !pump->finishing ? STEP_HANGUP : STEP_END;
	if (errno == EAGAIN)
		return pump->finishing ? STEP_END : STEP_WAIT_SRC;
	if (errno == EIO && pump->terminal && !pump->finishing)
		return STEP_HANGUP;
	return STEP_END;
}

static Step step_splice(Pump *pump)
{
	ssize_t n = RETRY_EINTR(
	        splice(pump->src, NULL, pump->dst, NULL, SPLICE_MAX, SPLICE_F_NONBLOCK | SPLICE_F_MOVE));
	if (n > 0)
		return STEP_MOVED;
	if (n < 0 && errno == EAGAIN && dst_is_full(pump))
		return STEP_WAIT_DST;
	return read_failed(pump, n);
}

/* Into a regular file: what cannot be written is lost, so that a full disk stops no container. */
static void write_file(Pump *pump, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = RETRY_EINTR(write(pump->dst, data, len));
		if (n <= 0) {
			if (!pump->warned)
				log_warn("error copying output", "error", g_strerror(errno), NULL);
			pump->warned = true;
			return;
		}
		data += n;
		len -= (size_t)n;
	}
}

/* True: all of data is written or thrown away. The rest is kept where the destination is full. */
static bool write_some(Pump *pump, const char *data, size_t len, Step *ret_step)
{
	if (pump->dst < 0)
		return true;
	if (pump->dst_poll == NULL) {
		write_file(pump, data, len);
		return true;
	}
	while (len > 0) {
		ssize_t n = RETRY_EINTR(write(pump->dst, data, len));
		if (n < 0 && errno != EAGAIN) {
			*ret_step = STEP_END;
			return false;
		}
		if (n < 0) {
			char *rest = g_memdup2(data, len);
			g_free(pump->left);
			pump->left = rest;
			pump->left_len = len;
			*ret_step = STEP_WAIT_DST;
			return false;
		}
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static Step step_copy(Pump *pump)
{
	Step step = STEP_MOVED;
	if (pump->left != NULL) {
		g_autofree char *left = g_steal_pointer(&pump->left);
		return write_some(pump, left, pump->left_len, &step) ? STEP_MOVED : step;
	}
	if (pump->dst >= 0 && dst_is_full(pump))
		return STEP_WAIT_DST;
	size_t want = pump->dst_poll != NULL ? COPY_PIPE : sizeof buffer;
	ssize_t n = RETRY_EINTR(read(pump->src, buffer, want));
	if (n <= 0)
		return read_failed(pump, n);
	return write_some(pump, buffer, (size_t)n, &step) ? STEP_MOVED : step;
}

static void pump_run(Pump *pump)
{
	for (;;) {
		Step step = pump->how == PUMP_SPLICE ? step_splice(pump) : step_copy(pump);
		switch (step) {
		case STEP_MOVED:
			pump->hangup_wait = HANGUP_WAIT_MIN;
			if (pump->finishing || pump->src_poll == NULL)
				continue;
			uv_poll_start(pump->src_poll, UV_READABLE, on_poll);
			return;
		case STEP_WAIT_SRC:
			if (pump->src_poll == NULL) {
				pump_end(pump);
				return;
			}
			uv_poll_start(pump->src_poll, UV_READABLE, on_poll);
			return;
		case STEP_WAIT_DST:
			uv_poll_start(pump->dst_poll, UV_WRITABLE, on_poll);
			return;
		case STEP_HANGUP:
			if (pump->hangup_timer == NULL)
				pump->hangup_timer = loop_timer_new(pump->loop, on_hangup_timer, pump);
			loop_timer_start(pump->hangup_timer, pump->hangup_wait, 0);
			pump->hangup_wait = MIN(pump->hangup_wait * 2, HANGUP_WAIT_MAX);
			return;
		case STEP_END:
			pump_end(pump);
			return;
		}
	}
}

Pump *pump_new(Loop *loop, PumpHow how, int src, int dst, bool terminal, PumpDone done, void *data)
{
	Pump *pump = g_new0(Pump, 1);
	*pump = (Pump){.loop = loop,
	               .how = how,
	               .src = src,
	               .dst = dst,
	               .terminal = terminal,
	               .hangup_wait = HANGUP_WAIT_MIN,
	               .on_done = done,
	               .data = data};
	return pump;
}

void pump_start(Pump *pump)
{
	pump->src_poll = poll_open(pump, pump->src);
	if (pump->dst >= 0)
		pump->dst_poll = poll_open(pump, pump->dst);
	if (pump->src_poll != NULL)
		uv_poll_start(pump->src_poll, UV_READABLE, on_poll);
	else
		pump_run(pump);
}

void pump_finish(Pump *pump)
{
	if (pump->done || pump->finishing)
		return;
	pump->finishing = true;
	pump_run(pump);
}

bool pump_is_done(const Pump *pump)
{
	return pump->done;
}

void pump_free(Pump *pump)
{
	if (pump == NULL)
		return;
	pump_close(pump);
	g_free(pump);
}
