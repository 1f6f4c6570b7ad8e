// SPDX-License-Identifier: Apache-2.0

/*
 * The stop-watch of the bench scripts:
 *   probe run PID COMMAND...      wall time of a command, CPU time of it and of the daemon PID (0: none) with
 * its reaped children, peak memory of the daemon above what it held before, peak of the command: "wall_us
 * command_us daemon_us daemon_kb command_kb" probe ready ADDRESS COMMAND...  starts a daemon, which stays,
 * and prints "us pid": from the start to the first answered call probe rpc ADDRESS N           median of N
 * unary calls (Version), in us
 */

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/process.h"
#include "base/time.h"
#include "base/util.h"
#include "rpc/client.h"
#include "services/version/v1/version.pb-c.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MAX (30 * NS_PER_SEC)

static _Noreturn void die(GError *error)
{
	fprintf(stderr, "probe: %s\n", error->message);
	exit(1);
}

static pid_t spawn(char **argv)
{
	GError *error = NULL;
	autofd null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid = process_spawn((const char *const *)argv, NULL, NULL, null, null, STDERR_FILENO, false,
	                          &error);
	if (pid < 0)
		die(error);
	return pid;
}

static char *proc_file(pid_t pid, const char *name)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, name);
	GError *error = NULL;
	char *text;
	if (!file_read(path, 65536, &text, NULL, &error))
		die(error);
	return text;
}

/* "VmHWM:" of status, in kB */
static long memory(pid_t pid, const char *key)
{
	g_autofree char *text = proc_file(pid, "status");
	const char *at = strstr(text, key);
	return at != NULL ? strtol(at + strlen(key), NULL, 10) : 0;
}

/* With the children that it reaped; in ticks of 10 ms, so for long commands only. */
static int64_t cpu_us(pid_t pid)
{
	g_autofree char *text = proc_file(pid, "stat");
	const char *at = strrchr(text, ')');
	long ticks = 0;
	g_auto(GStrv) fields = g_strsplit(at != NULL ? at + 2 : "", " ", 17);
	for (guint i = 11; i < MIN(15, g_strv_length(fields)); i++) // utime, stime, cutime, cstime
		ticks += strtol(fields[i], NULL, 10);
	return ticks * (1000000 / sysconf(_SC_CLK_TCK));
}

static void reset_peak(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/clear_refs", (int)pid);
	GError *error = NULL;
	autofd fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "5", 1) != 1) {
		error_set_errno(&error, errno, "write %s", path);
		die(error);
	}
}

static int run(pid_t daemon, char **argv)
{
	int64_t cpu = 0;
	long rss = 0;
	if (daemon > 0) {
		reset_peak(daemon);
		rss = memory(daemon, "VmRSS:");
		cpu = cpu_us(daemon);
	}
	int64_t start = time_mono();
	pid_t pid = spawn(argv);
	int status;
	struct rusage u;
	while (wait4(pid, &status, 0, &u) < 0 && errno == EINTR)
		;
	int64_t wall = (time_mono() - start) / 1000;
	int64_t own =
	        (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000LL + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
	printf("%lld %lld %lld %ld %ld\n", (long long)wall, (long long)own,
	       daemon > 0 ? (long long)(cpu_us(daemon) - cpu) : 0,
	       daemon > 0 ? memory(daemon, "VmHWM:") - rss : 0, u.ru_maxrss);
	if (status != 0)
		fprintf(stderr, "probe: %s failed\n", argv[0]);
	return status == 0 ? 0 : 1;
}

static bool call_version(RpcClient *client, GError **error)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
	autopb Containerd__Services__Version__V1__VersionResponse *v = NULL;
	return rpc_client_call(client, &containerd__services__version__v1__version__descriptor, "Version",
	                       NULL, &empty, &v, error);
}

static int ready(const char *address, char **argv)
{
	Loop *loop = loop_start("probe");
	int64_t start = time_mono();
	pid_t pid = spawn(argv);
	GError *error = NULL;
	for (;;) {
		g_clear_error(&error);
		/* a new client each time: the old one's back-off is not the daemon's time */
		g_autoptr(RpcClient) client = rpc_client_new(loop, RPC_PROTO_GRPC, address);
		if (access(address, F_OK) == 0 && call_version(client, &error))
			break;
		if (time_mono() - start > READY_MAX || waitpid(pid, NULL, WNOHANG) != 0) {
			fprintf(stderr, "probe: %s does not answer\n", argv[0]);
			return 1;
		}
		usleep(200);
	}
	printf("%lld %d\n", (long long)(time_mono() - start) / 1000, (int)pid);
	loop_stop_join(loop);
	return 0;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static int rpc(const char *address, unsigned n)
{
	Loop *loop = loop_start("probe");
	RpcClient *client = rpc_client_new(loop, RPC_PROTO_GRPC, address);
	g_autofree int64_t *took = g_new0(int64_t, n);
	GError *error = NULL;
	for (unsigned i = 0; i < n; i++) {
		int64_t start = time_mono();
		if (!call_version(client, &error))
			die(error);
		took[i] = time_mono() - start;
	}
	qsort(took, n, sizeof(*took), compare);
	printf("%lld\n", (long long)took[n / 2] / 1000);
	rpc_client_unref(client);
	loop_stop_join(loop);
	return 0;
}

int main(int argc, char **argv)
{
	log_set_level(LOG_ERROR);
	if (argc > 3 && strcmp(argv[1], "run") == 0)
		return run((pid_t)strtol(argv[2], NULL, 10), argv + 3);
	if (argc > 3 && strcmp(argv[1], "ready") == 0)
		return ready(argv[2], argv + 3);
	if (argc == 4 && strcmp(argv[1], "rpc") == 0)
		return rpc(argv[2], MAX((unsigned)strtoul(argv[3], NULL, 10), 1));
	fprintf(stderr, "usage: probe run PID COMMAND... | ready ADDRESS COMMAND... | rpc ADDRESS N\n");
	return 2;
}
