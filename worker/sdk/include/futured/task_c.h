/* Tasks in C99, and in every language that can be called from C. Public; standard library only.
 *
 *   #include <futured/task_c.h>
 *
 *   static int add(const futured_host* host, futured_context* context, const futured_part* arguments, size_t count,
 *                  void* user) {
 *     ...
 *     return host->add_result(context, "application/json", text, size);
 *   }
 *
 *   FUTURED_PLUGIN_EXPORT int futured_plugin_tasks(const futured_host* host, futured_plugin* plugin) {
 *     const futured_task task = {.c_version = FUTURED_C_VERSION, .size = sizeof task, .name = "add", .run = add};
 *     return host->add_task(plugin, &task);
 *   }
 *
 * A shared object that exports futured_plugin_tasks is a plugin. It links to nothing of futured: all it calls is in the
 * table that it is handed. It may define tasks with futured/task.h as well.
 *
 * Nothing unwinds across this border: no C++ exception, no panic, no longjmp. Errors are return values, 0 being
 * success, and the functions of the table never throw.
 *
 * Memory: what the host hands to a task holds until the task returns, is read-only but for make_memory's, and is never
 * freed by it. What a plugin hands to the host is copied before the call returns; only make_memory's is taken as it is.
 * Pointers must not be null unless it says so. Texts end with a 0 and are UTF-8.
 *
 * Versions: whatever is added raises FUTURED_C_VERSION. A worker takes plugins of its own version and of older ones,
 * and refuses newer ones by name, so a plugin may call every function that its header has. Tables and structs grow only
 * at their ends; `size` is what its writer knew of it. futured_part and futured_array never change.
 */
#ifndef FUTURED_TASK_C_H
#define FUTURED_TASK_C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FUTURED_C_VERSION 3

#if defined(__GNUC__)
#define FUTURED_PLUGIN_EXPORT __attribute__((visibility("default")))
#else
#define FUTURED_PLUGIN_EXPORT
#endif

typedef struct futured_host futured_host;
typedef struct futured_plugin futured_plugin;   /* a plugin while it is loaded */
typedef struct futured_context futured_context; /* one run of a task; holds until it returns */

/* What the functions of the host return, and tasks. A task that returns any other number has failed with the class
   "Failed" and a message that names the number. */
enum {
  FUTURED_OK = 0,
  FUTURED_STOPPED = 1, /* the job is to stop; of a task: it does */
  FUTURED_ERROR = 2    /* of a task: it failed by the host's last error */
};

/* Whether the job may be tried again, for fail(): a number above 0 is the delay of that in milliseconds. */
#define FUTURED_RETRY_ALLOWED 0 /* after the job's own backoff */
#define FUTURED_RETRY_POINTLESS (-1)

/* Why a task is asked to stop. */
enum {
  FUTURED_STOP_NONE = 0,
  FUTURED_STOP_CANCELLED = 1,
  FUTURED_STOP_TIMED_OUT = 2,
  FUTURED_STOP_SOFT_TIMEOUT = 3, /* a result within the grace counts */
  FUTURED_STOP_SHUTDOWN = 4
};

enum {
  FUTURED_LOG_TRACE = 0,
  FUTURED_LOG_DEBUG = 1,
  FUTURED_LOG_INFO = 2,
  FUTURED_LOG_WARNING = 3,
  FUTURED_LOG_ERROR = 4,
  FUTURED_LOG_CRITICAL = 5
};

/* One argument. docs/formats/payload.md lists the content types with a meaning. */
typedef struct futured_part {
  const char* content_type; /* "": application/octet-stream */
  const void* bytes;        /* no 0 behind them, and at any alignment */
  size_t size;
} futured_part;

/* Elements in C order, aligned for their type. */
typedef struct futured_array {
  const void* elements;
  size_t count;
  const uint64_t* shape;
  size_t dimensions;
} futured_array;

/* The code of a task: argument `i` is arguments[i]. In pools of mode thread it runs on several threads at once. */
typedef int (*futured_task_function)(const futured_host* host, futured_context* context, const futured_part* arguments,
                                     size_t count, void* user);

/* All of it is copied by add_task. */
typedef struct futured_task {
  uint32_t c_version;  /* FUTURED_C_VERSION */
  uint32_t size;       /* sizeof(futured_task) */
  const char* name;    /* at most 128 bytes, unique among built-in tasks and plugins */
  const char* version; /* null, or what changes when its results do: part of the key of cached results */
  futured_task_function run;
  void* user; /* handed to run as it is; null if it needs nothing. What it points to is never freed */
} futured_task;

/* A job that a task submits. All of it is copied. 0 and null are the defaults of every submit, also for texts, but not
   for size and task. futured/context.h says more. Since version 2. */
typedef struct futured_child {
  uint32_t size;                 /* sizeof(futured_child) */
  const char* task;              /* its name */
  const futured_part* arguments; /* may be null when there are none; with their content types at most 16 KiB */
  size_t count;
  const char* queue;
  const char* pool;
  const char* name;
  const char* key; /* what is submitted again with it is the first job; without one every call makes a job */
  int32_t priority;
  uint32_t max_attempts;
  int64_t queue_timeout_ms;
  int64_t run_timeout_ms;
  int64_t total_timeout_ms;
  int at_most_once; /* not 0: it is */
} futured_child;

/* How a job has ended. Texts and parts hold until the task returns. Since version 3. */
typedef struct futured_outcome {
  uint32_t size;           /* sizeof(futured_outcome), set by who asks */
  uint32_t state;          /* FUTURED_SUCCEEDED, … */
  const char* cause;       /* of the API, "TASK_ERROR" say; "": it succeeded */
  const char* error_class; /* of a task that failed; else "" */
  const char* message;
  uint32_t exit_code; /* of a command */
  uint32_t signal;
  const futured_part* parts; /* of its result */
  size_t count;
} futured_outcome;

enum { FUTURED_SUCCEEDED = 5, FUTURED_FAILED = 6, FUTURED_CANCELLED = 7, FUTURED_TIMED_OUT = 8 };

struct futured_host {
  uint32_t c_version;
  uint32_t size;

  /* Within futured_plugin_tasks only. When it fails the plugin is refused, whatever futured_plugin_tasks returns. */
  int (*add_task)(futured_plugin* plugin, const futured_task* task);

  /* ---- Within a task, from any of its threads. */

  uint64_t (*job_id)(futured_context*);
  uint32_t (*epoch)(futured_context*);   /* (job_id, epoch, attempt) fences off what a later attempt took over */
  uint32_t (*attempt)(futured_context*); /* 1 for the first */
  uint64_t (*jobs_run_before)(futured_context*); /* by this process: 0 in a fresh worker */

  /* Not 0 once the job is cancelled or out of time. A load and a compare: ask often. After a grace the
     process is killed. */
  int (*stop_requested)(futured_context*);
  int (*stop_reason)(futured_context*);

  /* How far it is; total 0: not known; message may be null. Never waits, and may be called in an inner loop. */
  void (*progress)(futured_context*, uint64_t done, uint64_t total, const char* message);
  /* A line of the job's log, of at most 4 KiB. Never waits. */
  void (*log)(futured_context*, int level, const char* message);
  /* A sign of life, for jobs with a heartbeat_timeout; so are progress, log and emit. */
  void (*heartbeat)(futured_context*);
  /* Appends to the job's stream. Waits while there is no room; FUTURED_STOPPED when a stop comes meanwhile. */
  int (*emit)(futured_context*, const void* bytes, size_t size);

  /* ---- Within a task, on the thread that it was called on. */

  /* Sleeps. FUTURED_STOPPED: a stop came first. */
  int (*wait_for)(futured_context*, uint32_t ms);

  /* The argument at `index`, from 0, converted as futured/convert.h says. FUTURED_ERROR: it is something else, and a
     task that returns this ends as one with a bad argument, which is not tried again. */
  int (*get_int)(futured_context*, size_t index, int64_t* value);
  int (*get_double)(futured_context*, size_t index, double* value);
  int (*get_text)(futured_context*, size_t index, const char** text, size_t* size); /* size may be null */
  int (*get_array)(futured_context*, size_t index, const char* dtype, futured_array* array);

  /* `size` bytes of zeros for an array that is to be the result: handed to add_array, it is passed on without a copy,
     and must not be written from then on. Null: there is no room. */
  void* (*make_memory)(futured_context*, size_t size);

  /* One more part of the result. content_type null or "": application/octet-stream. When this fails the job does. */
  int (*add_result)(futured_context*, const char* content_type, const void* bytes, size_t size);
  /* dtype as NumPy names it: "float64". No dimensions: one element. */
  int (*add_array)(futured_context*, const char* dtype, const uint64_t* shape, size_t dimensions, const void* elements);

  /* The attempt has failed, whatever the task then returns; of several calls the last counts. Returns FUTURED_ERROR, so
     that a task can end with `return host->fail(…)`. error_class is cut at 128 bytes, message at 4 KiB. */
  int (*fail)(futured_context*, const char* error_class, const char* message, int64_t retry);
  /* The same for an argument that is not what the task takes: never tried again. */
  int (*fail_argument)(futured_context*, const char* message);

  /* ---- Since version 2. */

  /* When the job's run_timeout ends this attempt, in ns of CLOCK_MONOTONIC; 0: it has none. From any thread. */
  int64_t (*deadline)(futured_context*);

  /* A job of the same user, with this one as its parent, on the thread that the task was called on; its number once it
     is on disk. FUTURED_ERROR: it was refused, and a task that returns this fails with the daemon's class and message.
     FUTURED_STOPPED: a stop came first, and the job may exist or not. */
  int (*submit)(futured_context*, const futured_child*, uint64_t* job);

  /* ---- Since version 3, on the thread that the task was called on. */

  /* Waits until all of these jobs of the same user have ended, at most 1000, while the slot of this one is lent to
     others; or for timeout_ms, 0: for ever. *ended: 1, or 0 when the time was over first. lends_permits: not 0 lends
     those of semaphores as well. FUTURED_ERROR: it was refused, because one of them waits for this job, say.
     FUTURED_STOPPED: a stop came first. */
  int (*wait)(futured_context*, const uint64_t* jobs, size_t count, int64_t timeout_ms, int lends_permits, int* ended);
  /* How such a job has ended, and its result of at most 64 KiB. FUTURED_ERROR: it has not, or there is nothing to
     read. */
  int (*outcome)(futured_context*, uint64_t job, futured_outcome* outcome);
};

/* Exported by the plugin; called once, in the process that workers are forked from: a plugin that starts threads there
   is refused. So is one that returns anything but 0. */
FUTURED_PLUGIN_EXPORT int futured_plugin_tasks(const futured_host* host, futured_plugin* plugin);

#ifdef __cplusplus
}
#endif

#endif
