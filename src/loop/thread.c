// SPDX-License-Identifier: Apache-2.0
#include "loop/thread.h"
#include <glib.h>
#include <signal.h>
#include <sys/prctl.h>

typedef struct {
	void *(*fn)(void *);
	void *data;
	char name[16];
} Start;

static void *thread_main(void *data)
{
	Start start = *(Start *)data;
	g_free(data);
	prctl(PR_SET_NAME, start.name); // pthread_setname_np from outside goes through procfs
	return start.fn(start.data);
}

int thread_start(pthread_t *ret, const char *name, size_t stack, void *(*fn)(void *), void *data)
{
	sigset_t all, old;
	pthread_attr_t attr;
	Start *start = g_new0(Start, 1);

	*start = (Start){.fn = fn, .data = data};
	g_strlcpy(start->name, name, sizeof(start->name));
	pthread_attr_init(&attr);
	if (stack > 0)
		pthread_attr_setstacksize(&attr, stack);
	// the new thread inherits the mask, so that there is no moment in which it takes a signal
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int e = pthread_create(ret, &attr, thread_main, start);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (e != 0)
		g_free(start);
	return e;
}
