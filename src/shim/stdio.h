// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One process' standard streams, from before the runtime starts it until its Delete: pipes to fifos or files,
 * pipes straight to a logging program, or a terminal. Mirrors upstream's process/io.go, runc/platform.go and
 * go-runc's io.go; what is different: fifos are held open at both ends from the start, so no open waits for a
 * reader, and a step that waits (the logger's ready byte, the terminal's fd) never stops the loop.
 *
 * Order of use: new, prepare, [start the runtime with the fds], spawned, start, ..., exited, drain, close.
 * Callbacks may run before the function returns. Loop's thread only.
 */

#include "shim/reaper.h"
#include "shim/runc.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Stdio Stdio;

typedef struct {
	const char *id; // of the process: CONTAINER_ID of a logging program
	const char *ns;
	const char *in, *out, *err; // "" where there is none
	bool terminal;
	uint32_t uid, gid; // owner of the pipes
} StdioSpec;

typedef void (*StdioFn)(GError *error, void *data); // takes the error

Stdio *stdio_new(Loop *loop, Reaper *reaper, const StdioSpec *spec);
/* Opens fifos, pipes, the console socket; starts the logging program and waits until it is ready. */
void stdio_prepare(Stdio *io, StdioFn done, void *data);
/* Fails a prepare or start that still waits. */
void stdio_cancel(Stdio *io);
/* For the runtime. Without pipes its own output is captured. */
RuncStdio stdio_child(const Stdio *io);
/* NULL: no terminal. */
const char *stdio_console_path(const Stdio *io);
/* The runtime has the fds: close our copies. */
void stdio_spawned(Stdio *io);
/* The process exists: receive the terminal, start copying. */
void stdio_start(Stdio *io, StdioFn done, void *data);

/* Closes our writer of the stdin fifo: when the client has closed its own, the process sees the end. */
void stdio_close_stdin(Stdio *io);
bool stdio_resize(Stdio *io, uint32_t width, uint32_t height, GError **error);
/* The process has ended: a terminal is read until it is empty (others may still have it open). */
void stdio_exited(Stdio *io);
/* done once all output has been moved, or after timeout_ns with DEADLINE_EXCEEDED. */
void stdio_drain(Stdio *io, int64_t timeout_ns, StdioFn done, void *data);
/* Closes everything; a logging program gets SIGTERM, and SIGKILL 12 s later. done when it is gone. Frees io.
 */
void stdio_close(Stdio *io, StdioFn done, void *data);
