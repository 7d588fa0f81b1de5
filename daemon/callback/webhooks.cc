#include "daemon/callback/webhooks.h"

#include <curl/curl.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/limits.h"
#include "daemon/callback/address.h"

namespace futured::callback {

namespace {

// Events wake the thread; this only bounds what one that got lost could cost.
constexpr int kPollMs = 60'000;
constexpr long kIdleConnectionsMax = 64;

}  // namespace

struct Webhooks::Transfer {
  const WebhookRules* rules = nullptr;
  Post post;
  Done done;
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  std::size_t answer_bytes = 0;
  bool cut_answer = false;      // more of it than anybody wants
  std::string refused_address;  // why a connection was not opened
  char detail[CURL_ERROR_SIZE] = {};

  Transfer() = default;
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  ~Transfer() {
    curl_slist_free_all(headers);
    if (easy != nullptr) curl_easy_cleanup(easy);
  }

  // The resolved address of every connection comes by here: of the first host and of those that redirects lead to.
  static curl_socket_t open_socket(void* self, curlsocktype, curl_sockaddr* address) {
    auto& transfer = *static_cast<Transfer*>(self);
    if (!transfer.rules->allow_private && is_private(&address->addr)) {
      transfer.refused_address = private_refusal(text_of(&address->addr));
      return CURL_SOCKET_BAD;
    }
    return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  }

  static std::size_t take_answer(char*, std::size_t size, std::size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    transfer.answer_bytes += size * count;
    transfer.cut_answer = transfer.answer_bytes > limits::kReceiverAnswerBytesMax;
    return transfer.cut_answer ? 0 : size * count;
  }
};

Webhooks::Webhooks(WebhookRules rules) : rules_(std::move(rules)) {
  FUTURED_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK, "libcurl can be used");
  multi_ = curl_multi_init();
  FUTURED_CHECK(multi_ != nullptr, "libcurl can be used");
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, kIdleConnectionsMax);
}

Webhooks::~Webhooks() {
  for (const auto& [transfer, owned] : transfers_) curl_multi_remove_handle(multi_, transfer->easy);
  transfers_.clear();
  curl_multi_cleanup(multi_);
  curl_global_cleanup();
}

void Webhooks::post(Post post, Done done) {
  auto owned = std::make_unique<Transfer>();
  Transfer& transfer = *owned;
  transfer.rules = &rules_;
  transfer.post = std::move(post);
  transfer.done = std::move(done);
  transfer.easy = curl_easy_init();
  if (transfer.easy == nullptr) return transfer.done(Error{ErrorCode::kResourceExhausted, "no memory for a request"});
  for (const auto& [name, value] : transfer.post.headers) {
    const std::string line = value.empty() ? name + ";" : name + ": " + value;
    transfer.headers = curl_slist_append(transfer.headers, line.c_str());
  }
  transfer.headers = curl_slist_append(transfer.headers, "Expect:");  // no question before the body

  CURL* const easy = transfer.easy;
  const auto origin = origin_of(transfer.post.url);
  const bool encrypted = origin.ok() && origin->starts_with("https:");
  curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
  curl_easy_setopt(easy, CURLOPT_URL, transfer.post.url.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer.headers);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, rules_.user_agent.c_str());
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(transfer.post.body.size()));
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer.post.body.data());
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(transfer.post.timeout.count() / 1'000'000));
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  // A name server that does not answer has its own thread; nobody waits for that one to end.
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer.detail);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, &Transfer::open_socket);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::take_answer);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  if (!rules_.ca_file.empty()) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, rules_.ca_file.c_str());
    curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);  // instead of the system's, not beside them
  }
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, rules_.redirects_max > 0 ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_MAXREDIRS, static_cast<long>(rules_.redirects_max));
  curl_easy_setopt(easy, CURLOPT_POSTREDIR, static_cast<long>(CURL_REDIR_POST_ALL));
  // What was to be encrypted stays so.
  curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, encrypted ? "https" : "http,https");
  transfers_.emplace(&transfer, std::move(owned));
  const CURLMcode added = curl_multi_add_handle(multi_, easy);
  FUTURED_CHECK(added == CURLM_OK, "a new handle is taken");
}

bool Webhooks::work() {
  int running = 0;
  (void)curl_multi_perform(multi_, &running);
  int left = 0;
  bool finished = false;
  while (const CURLMsg* const message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    char* transfer = nullptr;
    const CURLcode code = message->data.result;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    finish(*reinterpret_cast<Transfer*>(transfer), code);
    finished = true;
  }
  return finished;
}

void Webhooks::wait() { (void)curl_multi_poll(multi_, nullptr, 0, kPollMs, nullptr); }

void Webhooks::wake() { (void)curl_multi_wakeup(multi_); }

void Webhooks::finish(Transfer& transfer, int result) {
  const auto owned = std::move(transfers_.extract(&transfer).mapped());
  const auto code = static_cast<CURLcode>(result);
  long status = 0;
  curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
  curl_multi_remove_handle(multi_, transfer.easy);
  const auto failed = [&](const std::string& why) { transfer.done(Error{ErrorCode::kUnavailable, why}); };
  const bool answered = code == CURLE_OK || (code == CURLE_WRITE_ERROR && transfer.cut_answer);
  if (answered && status >= 200 && status < 300) return transfer.done({});
  if (answered && status >= 300 && status < 400 && rules_.redirects_max == 0) {
    return failed("answered " + std::to_string(status) +
                  ", and the configuration refuses redirects ([callbacks] redirects_max)");
  }
  // Of an answer only its status is told: its text may come from where whoever asked for the callback cannot look.
  if (answered) return failed("answered " + std::to_string(status));
  if (!transfer.refused_address.empty() && code == CURLE_COULDNT_CONNECT) return failed(transfer.refused_address);
  if (code == CURLE_OPERATION_TIMEDOUT) {
    return failed("no answer within " + std::to_string(transfer.post.timeout.count() / 1'000'000) + " ms");
  }
  failed(explained(transfer, result));
}

// libcurl's words, with ours where its own do not tell what to do.
std::string Webhooks::explained(const Transfer& transfer, int result) const {
  const auto code = static_cast<CURLcode>(result);
  const std::string detail = transfer.detail[0] != '\0' ? transfer.detail : curl_easy_strerror(code);
  switch (code) {
    case CURLE_TOO_MANY_REDIRECTS:
      return "redirected more than " + std::to_string(rules_.redirects_max) + " times ([callbacks] redirects_max)";
    case CURLE_UNSUPPORTED_PROTOCOL:
      return "redirected to another scheme than https: " + detail;
    case CURLE_PEER_FAILED_VERIFICATION:
      return "its certificate does not hold: " + detail +
             (rules_.ca_file.empty() ? "; an authority of your own is named by [callbacks] ca"
                                     : "; trusted are those in " + rules_.ca_file + " ([callbacks] ca)");
    case CURLE_COULDNT_RESOLVE_HOST:
      return "its name is not known: " + detail;
    default:
      return detail;
  }
}

}  // namespace futured::callback
