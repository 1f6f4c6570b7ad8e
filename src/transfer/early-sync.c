// SPDX-License-Identifier: Apache-2.0
#include "transfer/early-sync.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/lock.h"
#include "loop/thread.h"
#include <fcntl.h>
#include <unistd.h>

struct EarlySync {
	Lock lock;
	Cond changed;
	bool end, started, syncing;
	int fd, failed; // the first errno
	char *root;
	pthread_t thread;
	_Atomic int64_t written;
};

EarlySync *early_sync_new(void)
{
	EarlySync *s = g_new0(EarlySync, 1);
	lock_init(&s->lock, "early-sync", LOCK_RANK_LEAF);
	cond_init(&s->changed);
	s->fd = -1;
	return s;
}

/* Waits for the next time, and says that it syncs now. false: the end. */
static bool begin_next(EarlySync *s, int64_t *synced)
{
	LOCK_SCOPE(&s->lock);
	s->syncing = false;
	cond_broadcast(&s->changed);
	int64_t until = time_mono() + EARLY_SYNC_MS * NS_PER_MS;
	while (!s->end) {
		if (cond_wait_until(&s->changed, &s->lock, until))
			continue;
		int64_t written = s->written;
		if (written - *synced >= EARLY_SYNC_BYTES) {
			*synced = written;
			s->syncing = true;
			return true;
		}
		until = time_mono() + EARLY_SYNC_MS * NS_PER_MS;
	}
	return false;
}

static void sync_now(EarlySync *s)
{
	int err = syncfs(s->fd) == 0 ? 0 : errno;
	LOCK_SCOPE(&s->lock);
	if (s->failed == 0)
		s->failed = err;
}

static void *sync_thread(void *data)
{
	EarlySync *s = data;
	int64_t synced = 0;
	while (begin_next(s, &synced))
		sync_now(s);
	return NULL;
}

void early_sync_root(EarlySync *s, const char *root)
{
	LOCK_SCOPE(&s->lock);
	if (s->started)
		return;
	if (s->fd < 0) {
		s->fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (s->fd < 0)
			s->failed = errno; // what cannot be synced is not committed
	}
	if (s->root == NULL)
		s->root = g_strdup(root);
	s->started = s->fd >= 0 && thread_start(&s->thread, "early-sync", 64 * 1024, sync_thread, s) == 0;
}

_Atomic int64_t *early_sync_counter(EarlySync *s)
{
	return &s->written;
}

bool early_sync_finish(EarlySync *s, GError **error)
{
	if (s->root == NULL)
		return true; // nothing was extracted
	if (s->fd >= 0) {
		{
			LOCK_SCOPE(&s->lock);
			while (s->syncing)
				cond_wait(&s->changed, &s->lock);
		}
		sync_now(s);
	}
	LOCK_SCOPE(&s->lock);
	return s->failed == 0 || error_set_errno(error, s->failed, "syncfs %s", s->root);
}

void early_sync_free(EarlySync *s)
{
	if (s == NULL)
		return;
	{
		LOCK_SCOPE(&s->lock);
		s->end = true;
		cond_broadcast(&s->changed);
	}
	if (s->started)
		pthread_join(s->thread, NULL);
	if (s->fd >= 0)
		close(s->fd);
	cond_destroy(&s->changed);
	lock_destroy(&s->lock);
	g_free(s->root);
	g_free(s);
}
