// SPDX-License-Identifier: Apache-2.0
#include "oci/seccomp.h"
#include "base/util.h"
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#if defined(__x86_64__)
#define ARCHES "SCMP_ARCH_X86_64 SCMP_ARCH_X86 SCMP_ARCH_X32"
#define ARCH_SYSCALLS "arch_prctl modify_ldt"
#elif defined(__aarch64__)
#define ARCHES "SCMP_ARCH_ARM SCMP_ARCH_AARCH64"
#elif defined(__mips64)
#define ARCHES "SCMP_ARCH_MIPS SCMP_ARCH_MIPS64 SCMP_ARCH_MIPS64N32"
#elif defined(__s390x__)
#define ARCHES "SCMP_ARCH_S390 SCMP_ARCH_S390X"
#define ARCH_SYSCALLS "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"
#elif defined(__riscv)
#define ARCHES "SCMP_ARCH_RISCV64"
#define ARCH_SYSCALLS "riscv_flush_icache riscv_hwprobe"
#elif defined(__loongarch64)
#define ARCHES "SCMP_ARCH_LOONGARCH64"
#elif defined(__powerpc64__)
#define ARCHES ""
#define ARCH_SYSCALLS "sync_file_range2 swapcontext"
#elif defined(__i386__)
#define ARCHES ""
#define ARCH_SYSCALLS "modify_ldt"
#else
#define ARCHES ""
#endif
#if defined(__aarch64__) || defined(__arm__)
#define ARCH_SYSCALLS "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"
#endif

/* clone's flags are its second argument on s390 */
#ifdef __s390x__
#define CLONE_FLAGS_INDEX 1
#else
#define CLONE_FLAGS_INDEX 0
#endif

static const char always_allowed[] =
        "accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown "
        "chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime "
        "clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect "
        "copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old "
        "epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat "
        "exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark "
        "fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync "
        "fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs "
        "fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait "
        "futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 "
        "geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid "
        "getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid "
        "getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt "
        "get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat "
        "inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl "
        "io_destroy io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set "
        "io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset "
        "landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr "
        "listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lsm_get_self_attr "
        "lsm_list_modules lsm_set_self_attr lstat lstat64 madvise membarrier memfd_create "
        "memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall map_shadow_stack "
        "mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive "
        "mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl "
        "msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep "
        "newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 "
        "pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 "
        "prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read "
        "readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg "
        "remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall "
        "rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
        "rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo "
        "sched_getaffinity sched_getattr sched_getparam sched_get_priority_max "
        "sched_get_priority_min sched_getscheduler sched_rr_get_interval "
        "sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam "
        "sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop "
        "semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 "
        "setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority "
        "setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 "
        "setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid "
        "setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd "
        "signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs "
        "statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee "
        "tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 "
        "timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 "
        "timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask "
        "uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice "
        "wait4 waitid waitpid write writev";

/* What a bounding capability allows besides. */
static const struct {
	const char *cap, *syscalls;
} allowed_with[] = {
        {"CAP_DAC_READ_SEARCH", "open_by_handle_at"},
        {"CAP_SYS_ADMIN",
         "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount "
         "mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname "
         "sethostname setns syslog umount umount2 unshare"},
        {"CAP_SYS_BOOT", "reboot"},
        {"CAP_SYS_CHROOT", "chroot"},
        {"CAP_SYS_MODULE", "delete_module init_module finit_module"},
        {"CAP_SYS_PACCT", "acct"},
        {"CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"},
        {"CAP_SYS_RAWIO", "iopl ioperm"},
        {"CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"},
        {"CAP_SYS_TTY_CONFIG", "vhangup"},
        {"CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
        {"CAP_SYSLOG", "syslog"},
        {"CAP_BPF", "bpf"},
        {"CAP_PERFMON", "perf_event_open"},
};

/* An array of the words of a text. */
static JsonObject *words(const char *text)
{
	JsonObject *array = json_object_new_array();
	g_auto(GStrv) list = g_strsplit(text, " ", -1);
	for (char **word = list; *word != NULL; word++)
		if (**word != '\0')
			json_object_array_add(array, json_object_new_string(*word));
	return array;
}

static JsonObject *add_rule(JsonObject *rules, const char *names, const char *action)
{
	JsonObject *rule = json_object_new_object();
	json_set(rule, "names", words(names));
	json_set_string(rule, "action", action);
	json_object_array_add(rules, rule);
	return rule;
}

static void allow(JsonObject *rules, const char *names)
{
	add_rule(rules, names, "SCMP_ACT_ALLOW");
}

/* Allowed where one argument compares so. */
static void allow_if(JsonObject *rules, const char *name, int64_t index, int64_t value, const char *op)
{
	JsonObject *rule = add_rule(rules, name, "SCMP_ACT_ALLOW");
	JsonObject *arg = json_object_new_object(), *args = json_object_new_array();
	json_set_int64(arg, "index", index);
	json_set_int64(arg, "value", value);
	json_set_string(arg, "op", op);
	json_object_array_add(args, arg);
	json_set(rule, "args", args);
}

/* All families but AF_ALG and AF_VSOCK, which match none of three ranges: several conditions on one argument
 * of one rule would be joined by "or". */
static void allow_sockets(JsonObject *rules)
{
	allow_if(rules, "socket", 0, AF_ALG, "SCMP_CMP_LT");
	allow_if(rules, "socket", 0, AF_ALG + 1, "SCMP_CMP_EQ");
	allow_if(rules, "socket", 0, AF_VSOCK, "SCMP_CMP_GT");
}

static void allow_personalities(JsonObject *rules)
{
	// Linux and BSD, each with and without 32-bit addresses reported by uname; ask only
	static const int64_t values[] = {0x0, 0x8, 0x20000, 0x20008, 0xffffffff};
	for (size_t i = 0; i < G_N_ELEMENTS(values); i++)
		allow_if(rules, "personality", 0, values[i], "SCMP_CMP_EQ");
}

/* Without CAP_SYS_ADMIN no new namespaces; clone3, whose flags a filter cannot see, seems not to be there. */
static void restrict_clone(JsonObject *rules)
{
	enum {
		NAMESPACES = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
		             CLONE_NEWNET | CLONE_NEWCGROUP,
	};
	allow_if(rules, "clone", CLONE_FLAGS_INDEX, NAMESPACES, "SCMP_CMP_MASKED_EQ");
	json_set_int64(add_rule(rules, "clone3", "SCMP_ACT_ERRNO"), "errnoRet", ENOSYS);
}

/* Before 4.8 a tracer could change a system call after seccomp had looked at it. */
static bool ptrace_is_safe(void)
{
	struct utsname uts;
	int major = 0, minor = 0;
	return uname(&uts) == 0 && sscanf(uts.release, "%d.%d", &major, &minor) == 2 &&
	       (major > 4 || (major == 4 && minor >= 8));
}

static const char *syscalls_of(const char *cap)
{
	for (size_t i = 0; i < G_N_ELEMENTS(allowed_with); i++)
		if (strcmp(allowed_with[i].cap, cap) == 0)
			return allowed_with[i].syscalls;
	return NULL;
}

JsonObject *seccomp_default_profile(JsonObject *spec)
{
	JsonObject *profile = json_object_new_object(), *rules = json_object_new_array();
	JsonObject *caps = json_get_array(json_get(json_get(spec, "process"), "capabilities"), "bounding");
	size_t n_caps = caps != NULL ? json_object_array_length(caps) : 0;
	bool admin = false;

	json_set_string(profile, "defaultAction", "SCMP_ACT_ERRNO");
	if (*ARCHES != '\0')
		json_set(profile, "architectures", words(ARCHES));
	json_set(profile, "syscalls", rules);
	allow(rules, always_allowed);
	allow_sockets(rules);
	allow_personalities(rules);
	if (ptrace_is_safe())
		allow(rules, "process_vm_readv process_vm_writev ptrace");
#ifdef ARCH_SYSCALLS
	allow(rules, ARCH_SYSCALLS);
#endif
	for (size_t i = 0; i < n_caps; i++) {
		const char *cap = json_object_get_string(json_object_array_get_idx(caps, i));
		const char *syscalls = syscalls_of(str_or(cap, ""));
		if (syscalls != NULL)
			allow(rules, syscalls);
		admin = admin || g_strcmp0(cap, "CAP_SYS_ADMIN") == 0;
	}
	if (!admin)
		restrict_clone(rules);
	return profile;
}
