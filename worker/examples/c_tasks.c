/* Tasks in C. Everything is called through the table `host`; futured/task_c.h says what it promises. Build it with
 *   cc -std=c99 -shared -fPIC c_tasks.c -o c_tasks.so
 */
#include <futured/task_c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `fut call c.repeat ha 3` */
static int repeat(const futured_host* host, futured_context* context, const futured_part* arguments, size_t count,
                  void* user) {
  const char* text;
  size_t size;
  int64_t times;
  (void)arguments;
  (void)user;
  if (count != 2) return host->fail_argument(context, "the task takes a text and a number");
  if (host->get_text(context, 0, &text, &size) != FUTURED_OK) return FUTURED_ERROR;
  if (host->get_int(context, 1, &times) != FUTURED_OK) return FUTURED_ERROR;
  if (times < 0 || times > 100) {
    return host->fail(context, "NotThatOften", "a text is repeated 0 to 100 times", FUTURED_RETRY_POINTLESS);
  }

  char* repeated = malloc(size * (size_t)times + 1);
  if (repeated == NULL) return host->fail(context, "NoMemory", "the text is too long", FUTURED_RETRY_ALLOWED);
  for (size_t i = 0; i < (size_t)times; ++i) memcpy(repeated + i * size, text, size);
  const int added = host->add_result(context, "text/plain", repeated, size * (size_t)times);
  free(repeated);
  return added;
}

/* An array in shared memory, and one as the result: make_memory's is handed on as it is. */
static int scale(const futured_host* host, futured_context* context, const futured_part* arguments, size_t count,
                 void* user) {
  futured_array values;
  double factor;
  (void)arguments;
  (void)user;
  if (count != 2) return host->fail_argument(context, "the task takes an array and a number");
  if (host->get_array(context, 0, "float64", &values) != FUTURED_OK) return FUTURED_ERROR;
  if (host->get_double(context, 1, &factor) != FUTURED_OK) return FUTURED_ERROR;

  const double* from = values.elements;
  double* scaled = host->make_memory(context, values.count * sizeof *scaled);
  if (scaled == NULL) return FUTURED_ERROR;
  for (size_t i = 0; i < values.count; ++i) scaled[i] = from[i] * factor;
  return host->add_array(context, "float64", values.shape, values.dimensions, scaled);
}

/* Runs for a while: says how far it is, streams what it has, and stops when it is asked to. */
static int count_down(const futured_host* host, futured_context* context, const futured_part* arguments, size_t count,
                      void* user) {
  int64_t from;
  (void)arguments;
  (void)user;
  if (count != 1) return host->fail_argument(context, "the task takes a number");
  if (host->get_int(context, 0, &from) != FUTURED_OK) return FUTURED_ERROR;
  if (from < 0) return host->fail_argument(context, "argument 1 is below 0");

  for (int64_t left = from; left > 0; --left) {
    char line[32];
    const int size = snprintf(line, sizeof line, "%lld\n", (long long)left);
    int code = host->emit(context, line, (size_t)size);
    host->progress(context, (uint64_t)(from - left), (uint64_t)from, NULL);
    if (code == FUTURED_OK) code = host->wait_for(context, 10);
    if (code != FUTURED_OK) return code; /* FUTURED_STOPPED, most likely */
  }
  return host->add_result(context, "text/plain", "lift-off", 8);
}

/* Submits a job of another task with the rest of its arguments: `fut call c.hand_on c.repeat ha 3` */
static int hand_on(const futured_host* host, futured_context* context, const futured_part* arguments, size_t count,
                   void* user) {
  futured_child child = {.size = sizeof child};
  uint64_t job;
  char number[32];
  (void)user;
  if (count == 0) return host->fail_argument(context, "the task takes the name of a task, and its arguments");
  if (host->get_text(context, 0, &child.task, NULL) != FUTURED_OK) return FUTURED_ERROR;
  child.arguments = arguments + 1;
  child.count = count - 1;

  const int code = host->submit(context, &child, &job);
  if (code != FUTURED_OK) return code; /* refused: the job fails with the daemon's message */
  const int size = snprintf(number, sizeof number, "%llu", (unsigned long long)job);
  return host->add_result(context, "text/plain", number, (size_t)size);
}

/* The same, and waits for it; its result is the job's own: `fut call c.hand_on_and_wait c.repeat ha 3` */
static int hand_on_and_wait(const futured_host* host, futured_context* context, const futured_part* arguments,
                            size_t count, void* user) {
  futured_child child = {.size = sizeof child};
  futured_outcome outcome = {.size = sizeof outcome};
  uint64_t job;
  int ended = 0;
  (void)user;
  if (count == 0) return host->fail_argument(context, "the task takes the name of a task, and its arguments");
  if (host->get_text(context, 0, &child.task, NULL) != FUTURED_OK) return FUTURED_ERROR;
  child.arguments = arguments + 1;
  child.count = count - 1;

  int code = host->submit(context, &child, &job);
  if (code == FUTURED_OK) code = host->wait(context, &job, 1, 60000, 0, &ended); /* its slot is lent meanwhile */
  if (code != FUTURED_OK) return code;
  if (!ended) return host->fail(context, "TooSlow", "the job has not ended within a minute", FUTURED_RETRY_ALLOWED);
  code = host->outcome(context, job, &outcome);
  if (code != FUTURED_OK) return code;
  if (outcome.state != FUTURED_SUCCEEDED) {
    return host->fail(context, outcome.error_class, outcome.message, FUTURED_RETRY_POINTLESS);
  }
  for (size_t i = 0; i < outcome.count && code == FUTURED_OK; ++i) {
    const futured_part* part = &outcome.parts[i];
    code = host->add_result(context, part->content_type, part->bytes, part->size);
  }
  return code;
}

FUTURED_PLUGIN_EXPORT int futured_plugin_tasks(const futured_host* host, futured_plugin* plugin) {
  const futured_task tasks[] = {
      {.c_version = FUTURED_C_VERSION, .size = sizeof(futured_task), .name = "c.repeat", .run = repeat},
      {.c_version = FUTURED_C_VERSION, .size = sizeof(futured_task), .name = "c.scale", .run = scale},
      {.c_version = FUTURED_C_VERSION, .size = sizeof(futured_task), .name = "c.count_down", .run = count_down},
      {.c_version = FUTURED_C_VERSION, .size = sizeof(futured_task), .name = "c.hand_on", .run = hand_on},
      {.c_version = FUTURED_C_VERSION,
       .size = sizeof(futured_task),
       .name = "c.hand_on_and_wait",
       .run = hand_on_and_wait},
  };
  for (size_t i = 0; i < sizeof tasks / sizeof *tasks; ++i) {
    if (host->add_task(plugin, &tasks[i]) != FUTURED_OK) return FUTURED_ERROR;
  }
  return FUTURED_OK;
}
