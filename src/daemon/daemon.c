// SPDX-License-Identifier: Apache-2.0
#include "daemon/daemon.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/inflight.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/cancel.h"
#include "loop/thread.h"
#include "mount/mount.h"
#include "revision.h"
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#define MAX_WORKERS 512
#define MAX_QUEUE 16384
#define WORKER_IDLE_NS (10 * NS_PER_SEC)
/* How long a start that is cut short may take to notice. */
#define BOOT_GRACE_NS (5 * NS_PER_SEC)

typedef struct {
	const DaemonOptions *options;
	Config *config; // as started with; the plugins' views point into it
	Config *latest; // as last read; differs from config after SIGHUP
	PluginSet *set;
	Loop *loop;
	Pool *pool;
	Cancel *cancel;  // ends the start
	int64_t started; // time_mono
	int event_fd;    // written by the boot and the shutdown thread when they end
	int signal_fd;
	int lock_fd;
	bool reload_pending; // SIGHUP came before the daemon was up
	GError *boot_error;
} Daemon;

/* ---- configuration ---- */

static void set_absolute(Config *config, const char *key, const char *path)
{
	if (str_empty(path))
		return;
	g_autofree char *absolute = g_canonicalize_filename(path, NULL);
	config_set_string(config, key, absolute);
}

Config *daemon_config(const DaemonOptions *options, GError **error)
{
	g_autoptr(Config) config = config_new();

	// A file that is not there is fine only where nobody asked for it.
	if ((options->config_given || path_exists(options->config_path)) &&
	    !config_load(config, options->config_path, error))
		return NULL;
	set_absolute(config, "root", options->root);
	set_absolute(config, "state", options->state);
	if (!str_empty(options->address) && !config_set_address(config, options->address, error))
		return NULL;
	return g_steal_pointer(&config);
}

bool daemon_setup_log(const DaemonOptions *options, const Config *config, GError **error)
{
	const char *configured = conf_string(config_view(config), "debug.level");
	const char *level = !str_empty(options->log_level) ? options->log_level : configured;
	const char *format = conf_string(config_view(config), "debug.format");
	LogLevel parsed = LOG_INFO;

	if (!str_empty(level) && !log_level_parse(level, &parsed, error))
		return false;
	if (!str_empty(format) && strcmp(format, "text") != 0 && strcmp(format, "json") != 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "unknown log format: %s", format);
	log_set_level(parsed);
	log_set_json(strcmp(format, "json") == 0);
	return true;
}

static void log_config_warnings(const Config *config)
{
	for (guint i = 0; i < config_warnings(config)->len; i++)
		log_warn(config_warnings(config)->pdata[i], NULL);
}

/* What reload itself applies; plugins name theirs. */
static const char *const own_keys[] = {"debug.level", "debug.format", NULL};

static char *join_keys(GPtrArray *keys)
{
	if (keys->len == 0)
		return g_strdup("nothing");
	g_autofree char **v = g_new0(char *, keys->len + 1);
	memcpy(v, keys->pdata, keys->len * sizeof(char *));
	return g_strjoinv(" ", v);
}

static void log_reload(const PluginReloadResult *result)
{
	g_autofree char *applied = join_keys(result->applied), *restart = join_keys(result->restart);
	g_autofree char *failed = join_keys(result->failed);

	log_info("configuration reloaded", "applied", applied, "needs_restart", restart,
	         result->failed->len > 0 ? "failed" : NULL, failed, NULL);
}

/* All of a new configuration is checked before any of it is applied. */
static Config *try_reload(Daemon *d, GError **error)
{
	g_autoptr(Config) fresh = daemon_config(d->options, error);
	g_auto(PluginReloadResult) result = {0};

	if (fresh == NULL || !config_check_timeouts(fresh, error) ||
	    !daemon_setup_log(d->options, fresh, error))
		return NULL;
	if (!plugins_reload(d->set, d->latest, fresh, own_keys, &result, error)) {
		daemon_setup_log(d->options, d->latest, NULL);
		return NULL;
	}
	log_config_warnings(fresh);
	log_reload(&result);
	return g_steal_pointer(&fresh);
}

/* SIGHUP: what can change in a running daemon changes, and the log says what cannot. */
static void reload(Daemon *d)
{
	g_autoptr(GError) error = NULL;
	Config *fresh = try_reload(d, &error);

	if (fresh == NULL) {
		log_error_take(LOG_ERROR, g_steal_pointer(&error),
		               "cannot reload the configuration, the present one stays", NULL);
		return;
	}
	if (d->latest != d->config)
		config_free(d->latest);
	d->latest = fresh;
}

/* ---- start and end, each on a thread of its own ---- */

static void notify(const char *state)
{
	g_autoptr(GError) error = NULL;

	if (!daemon_notify(state, &error))
		log_error_take(LOG_WARN, g_steal_pointer(&error), "sd notification failed", "state", state,
		               NULL);
}

static bool boot(Daemon *d, GError **error)
{
	const PluginEnv env = {.config = d->config, .loop = d->loop, .pool = d->pool};

	daemon_register_builtins(d->set);
	if (!plugins_register_proxies(d->set, d->config, daemon_proxy_kinds, daemon_n_proxy_kinds, error) ||
	    !plugins_init(d->set, &env, error) || !cancel_check(d->cancel, error) ||
	    !plugins_start(d->set, error) || !plugins_wait_ready(d->set, d->cancel, error))
		return false;
	return true;
}

/* Said by the main thread when the boot thread has ended: who reads it may send signals at once. */
static void announce(const Daemon *d)
{
	g_autofree char *text = g_strdup_printf("containerd successfully booted in %.6fs",
	                                        (double)(time_mono() - d->started) / (double)NS_PER_SEC);

	notify("READY=1");
	log_info(text, NULL);
}

static void tell_main(const Daemon *d)
{
	uint64_t one = 1;

	while (write(d->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void *boot_thread(void *data)
{
	Daemon *d = data;

	boot(d, &d->boot_error);
	tell_main(d);
	return NULL;
}

static void *shutdown_thread(void *data)
{
	Daemon *d = data;

	plugins_close(d->set);
	pool_free(d->pool);
	loop_stop_join(d->loop);
	tell_main(d);
	return NULL;
}

/* ---- the main thread ---- */

/* Waits for a signal, the end of the other thread (0), or the deadline (-1). deadline 0: none. */
static int wait_event(const Daemon *d, bool for_thread, int64_t deadline)
{
	struct pollfd fds[2] = {
	        {.fd = d->signal_fd, .events = POLLIN},
	        {.fd = for_thread ? d->event_fd : -1, .events = POLLIN},
	};

	for (;;) {
		int64_t left = deadline != 0 ? MAX(deadline - time_mono(), 0) : 0;
		int timeout = deadline != 0 ? (int)MIN(left / NS_PER_MS + 1, 60000) : -1;
		struct signalfd_siginfo info;
		uint64_t count;

		if (deadline != 0 && left == 0)
			return -1;
		if (poll(fds, 2, timeout) < 0 && errno != EINTR)
			g_error("poll: %s", g_strerror(errno));
		if (fds[0].revents != 0 && read(d->signal_fd, &info, sizeof(info)) == sizeof(info))
			return (int)info.ssi_signo;
		if (fds[1].revents != 0 && read(d->event_fd, &count, sizeof(count)) == sizeof(count))
			return 0;
	}
}

static const char *signal_name(int signal)
{
	static const char *const names[] = {[SIGHUP] = "hangup",
	                                    [SIGINT] = "interrupt",
	                                    [SIGUSR1] = "user defined signal 1",
	                                    [SIGTERM] = "terminated"};

	return signal < (int)G_N_ELEMENTS(names) && names[signal] != NULL ? names[signal] : "signal";
}

/* Signals that do not end the daemon. false: this one does. */
static bool handle_signal(Daemon *d, int signal, bool running)
{
	log_debug("received signal", "signal", signal_name(signal), NULL);
	if (signal == SIGHUP && running)
		reload(d);
	else if (signal == SIGHUP)
		d->reload_pending = true; // the plugins are on another thread still
	else if (signal == SIGUSR1)
		inflight_log();
	else
		return false;
	return true;
}

/* One daemon for a root: waits for another to end, says so at once and every 10 s. false: a signal or an
 * error came. */
static bool lock_root(Daemon *d, GError **error)
{
	const char *root = conf_string(config_view(d->config), "root");
	int64_t limit = config_timeout(d->config, "io.containerd.timeout.bolt.open"), next_log = 0;

	for (;;) {
		g_autoptr(GError) failed = NULL;
		pid_t pid = 0;

		d->lock_fd = daemon_try_lock(root, &pid, &failed);
		if (failed != NULL) {
			g_propagate_error(error, g_steal_pointer(&failed));
			return false;
		}
		if (d->lock_fd >= 0)
			return true;
		g_autofree char *who = g_strdup_printf("%d", pid);
		if (limit > 0 && time_mono() - d->started > limit)
			return error_set(error, CTRD_ERR_FAILED_PRECONDITION,
			                 "root %s is in use by another containerd (pid %s)", Q(root), who);
		if (time_mono() >= next_log) {
			log_warn("waiting for another containerd that uses the same root", "root", root,
			         "pid", who, NULL);
			next_log = time_mono() + 10 * NS_PER_SEC;
		}
		int signal = wait_event(d, false, time_mono() + 200 * NS_PER_MS);
		if (signal > 0 && !handle_signal(d, signal, false))
			return error_set(error, CTRD_ERR_CANCELED, "context canceled");
	}
}

/* Until the start has ended, well or not. false: it did not end in time after a signal. */
static bool run_boot(Daemon *d, GError **error)
{
	int64_t deadline = 0;
	pthread_t thread;
	int event;
	int e = thread_start(&thread, "boot", 0, boot_thread, d);

	if (e != 0)
		return error_set_errno(&d->boot_error, e, "cannot start a thread");
	while ((event = wait_event(d, true, deadline)) != 0) {
		if (event < 0)
			return error_set(error, CTRD_ERR_CANCELED, "context canceled");
		if (handle_signal(d, event, false) || deadline != 0)
			continue;
		notify("STOPPING=1");
		cancel_trigger(d->cancel, false);
		deadline = time_mono() + BOOT_GRACE_NS;
	}
	pthread_join(thread, NULL);
	return true;
}

/* Closes everything; a second signal, or a close that hangs, is for whoever sent it to decide. */
static void run_shutdown(Daemon *d)
{
	pthread_t thread;
	int event;

	if (thread_start(&thread, "shutdown", 0, shutdown_thread, d) != 0) {
		log_at(LOG_ERROR, "cannot start a thread for the shutdown", NULL);
		_exit(1);
	}
	while ((event = wait_event(d, true, 0)) != 0) {
		if (event != SIGTERM && event != SIGINT)
			continue;
		log_warn("second signal, ending without waiting for what still runs", NULL);
		_exit(1);
	}
	pthread_join(thread, NULL);
}

/* Returns the exit code. */
static int serve(Daemon *d, GError **error)
{
	d->loop = loop_start("loop");
	d->pool = pool_new("worker", MAX_WORKERS, MAX_QUEUE, WORKER_IDLE_NS);
	d->set = plugins_new();
	if (!run_boot(d, error))
		_exit(1); // a plugin's init hangs: nothing can be closed in order
	bool ok = d->boot_error == NULL && !cancel_is_set(d->cancel);
	if (ok) {
		announce(d);
		if (d->reload_pending)
			reload(d);
	}
	while (ok) {
		int signal = wait_event(d, false, 0);

		if (handle_signal(d, signal, true))
			continue;
		notify("STOPPING=1");
		break;
	}
	run_shutdown(d);
	plugins_free(d->set);
	if (d->boot_error != NULL)
		g_propagate_error(error, g_steal_pointer(&d->boot_error));
	return ok ? 0 : 1;
}

static bool open_fds(Daemon *d, GError **error)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	d->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	d->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->signal_fd < 0 || d->event_fd < 0)
		return error_set_errno(error, errno, "signalfd");
	return true;
}

/* Temporary mounts of a daemon that was killed go away. */
static bool prepare_temp_mounts(const Config *config, GError **error)
{
	g_autofree char *dir = path_join(conf_string(config_view(config), "root"), "tmpmounts");
	g_autoptr(GError) cleanup = NULL;

	if (!dir_make_all(dir, 0700, error))
		return error_prefix(error, "creating temp mount location");
	mount_set_temp_dir(dir);
	if (!mount_cleanup_temp(dir, &cleanup))
		log_error_take(LOG_ERROR, g_steal_pointer(&cleanup), "unmounting temp mounts", NULL);
	return true;
}

static int run(Daemon *d, GError **error)
{
	if (!open_fds(d, error))
		return 1;
	d->config = daemon_config(d->options, error);
	if (d->config == NULL)
		return 1;
	d->latest = d->config;
	if (!daemon_setup_log(d->options, d->config, error))
		return 1;
	log_config_warnings(d->config);
	if (!daemon_make_dirs(d->config, error))
		return 1;
	log_info("starting containerd", "revision", CTRD_REVISION, "version", "v" CTRD_VERSION, NULL);
	if (!config_check_timeouts(d->config, error) || !lock_root(d, error) ||
	    !daemon_apply_process(d->config, error) || !prepare_temp_mounts(d->config, error))
		return 1;
	return serve(d, error);
}

int daemon_run(const DaemonOptions *options)
{
	g_autoptr(GError) error = NULL;
	Daemon d = {.options = options,
	            .started = time_mono(),
	            .cancel = cancel_new(NULL),
	            .signal_fd = -1,
	            .event_fd = -1,
	            .lock_fd = -1};

	// Two arenas: with one for each worker the daemon would keep what a burst of calls once needed.
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_TRIM_THRESHOLD, 256 * 1024);
	int code = run(&d, &error);
	if (error != NULL)
		fprintf(stderr, "containerd: %s\n", error->message);
	if (d.latest != d.config)
		config_free(d.latest);
	config_free(d.config);
	cancel_unref(d.cancel);
	fd_close(&d.signal_fd);
	fd_close(&d.event_fd);
	fd_close(&d.lock_fd);
	return error != NULL ? 1 : code;
}
