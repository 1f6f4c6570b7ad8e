// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The standard streams of a process in a container (upstream pkg/cio): FIFOs between the shim and us, or
 * none, or a log URI. A pump thread copies between FIFOs and our own streams, passes our signals on, and the
 * size of our terminal.
 */

#include "ctr/ctr.h"

typedef struct {
	bool terminal;        // raw mode, one stream
	bool null_io;         // nothing
	const char *log_uri;  // NULL or "": none; "file:///x", "binary:///x?k=v"
	const char *fifo_dir; // NULL or "": /run/containerd/fifo
} TaskIoOptions;

typedef struct TaskIo TaskIo;
/* Makes the FIFOs of process id. NULL: error. */
TaskIo *task_io_new(const char *id, const TaskIoOptions *options, GError **error);
/* Those of a running process, for attach: the paths are the process's. */
TaskIo *task_io_attach(const char *stdin_path, const char *stdout_path, const char *stderr_path,
                       bool terminal);
/* What goes into the request; "" for none. */
const char *task_io_stdin(TaskIo *io);
const char *task_io_stdout(TaskIo *io);
const char *task_io_stderr(TaskIo *io);

/* After Create or Exec: start to copy. exec_id "" for the task itself.
 * With a terminal ours is put into raw mode until task_io_free. */
bool task_io_start(TaskIo *io, Cli *cli, const char *container_id, const char *exec_id, GError **error);
/* From now on our signals go to the process (without a terminal), or its size does (with one). After Start.
 */
void task_io_forward(TaskIo *io);
/* The process has ended: waits until what it wrote has been copied. */
void task_io_wait(TaskIo *io);
/* The names of our FIFOs go; open ones stay. After Start: nobody opens them any more. */
void task_io_remove(TaskIo *io);
/* Those of a process that has been deleted, and their directory where it is empty then (upstream's
 * loadFifos); "" or what is no FIFO stays. */
void task_io_remove_fifos(const char *stdin_path, const char *stdout_path, const char *stderr_path);
/* Removes the FIFOs; NULL is fine. keep: leaves them (detached). */
void task_io_free(TaskIo *io, bool keep);
