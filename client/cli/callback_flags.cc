#include "client/cli/callback_flags.h"

#include <filesystem>

#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

using client::CompletionCallback;

}  // namespace

CompletionCallback parse_callback(const std::string& word, const std::string& option) {
  require_utf8(option, word);
  const auto after = [&](std::string_view prefix) -> std::string {
    return word.starts_with(prefix) ? word.substr(prefix.size()) : std::string();
  };
  if (word.starts_with("http://") || word.starts_with("https://")) return CompletionCallback::webhook(word);
  if (const std::string address = after("grpc:"); !address.empty()) return CompletionCallback::listener(address);
  if (const std::string task = after("task:"); !task.empty()) return CompletionCallback::follow_up(task);
  if (const std::string line = after("sh:"); !line.empty()) {
    client::CommandLine command;
    command.argv = {"sh", "-c", line};
    std::error_code problem;
    command.cwd = std::filesystem::current_path(problem).string();
    if (problem) throw UsageError(option + ": " + problem.message() + ": run fut in a directory that exists");
    return CompletionCallback::run(std::move(command));
  }
  throw UsageError(option + ": \"" + word + "\" is none of " + kCallbackForms);
}

std::string condition_text(CompletionCallback::On on) {
  switch (on) {
    case CompletionCallback::On::kEnd:
      return "end";
    case CompletionCallback::On::kSuccess:
      return "success";
    case CompletionCallback::On::kFailure:
      return "failure";
  }
  return "end";
}

std::string target_text(const CompletionCallback& callback) {
  switch (callback.target) {
    case CompletionCallback::Target::kWebhook:
      return callback.address;
    case CompletionCallback::Target::kListener:
      return "grpc:" + callback.address;
    case CompletionCallback::Target::kFollowUp:
      return "task:" + callback.task;
    case CompletionCallback::Target::kCommand: {
      const std::vector<std::string>& argv = callback.command.argv;
      const bool is_shell = argv.size() == 3 && argv[0] == "sh" && argv[1] == "-c";
      return "sh:" + (is_shell ? argv[2] : quoted(argv));
    }
  }
  return {};
}

void CallbackFlags::add_to(CLI::App& verb) {
  const auto add = [&](const char* option, std::vector<std::string>& words, const std::string& when) {
    verb.add_option(option, words, when + ", tell " + kCallbackForms + "; may be given again")
        ->group("Callbacks")
        ->allow_extra_args(false);
  };
  add("--callback", on_end, "When the job has ended");
  add("--on-success", on_success, "When it has succeeded");
  add("--on-failure", on_failure, "When it has ended otherwise");
  verb.add_option("--callback-secret", secret, "Sign http requests with this secret of the daemon's configuration")
      ->group("Callbacks");
}

std::vector<CompletionCallback> CallbackFlags::callbacks() const {
  require_utf8("--callback-secret", secret);
  std::vector<CompletionCallback> all;
  const auto add = [&](const std::vector<std::string>& words, const char* option, CompletionCallback::On on) {
    for (const std::string& word : words) {
      CompletionCallback callback = parse_callback(word, option);
      callback.on = on;
      if (callback.target == CompletionCallback::Target::kWebhook) callback.secret_name = secret;
      all.push_back(std::move(callback));
    }
  };
  add(on_end, "--callback", CompletionCallback::On::kEnd);
  add(on_success, "--on-success", CompletionCallback::On::kSuccess);
  add(on_failure, "--on-failure", CompletionCallback::On::kFailure);
  return all;
}

}  // namespace futured::cli
