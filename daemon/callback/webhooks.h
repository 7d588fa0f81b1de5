// Webhooks: HTTP requests to receivers, many at once on one thread (libcurl's multi interface).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace futured::callback {

// What the configuration says of webhooks.
struct WebhookRules {
  bool allow_private = false;                  // receivers on loopback, private and link-local addresses
  std::uint32_t redirects_max = 0;             // followed for one request; 0: a redirect is a failure
  std::string ca_file;                         // PEM; empty: the certificates that the system trusts
  std::map<std::string, std::string> secrets;  // by name
  std::string user_agent = "futured";
};

struct Post {
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  Duration timeout{0};  // of everything, name lookup to last byte
};

// Certificates are verified. Addresses are checked when a connection is opened, so a name that resolves to something
// else now and then, or a redirect, gets nowhere that the rules forbid. Proxies of the environment are not used.
class Webhooks {
 public:
  // Called once: an error is why the receiver has not taken it (any answer but 2xx).
  using Done = std::function<void(const Status&)>;

  explicit Webhooks(WebhookRules rules);
  ~Webhooks();  // gives up what is under way; nothing is called
  Webhooks(const Webhooks&) = delete;
  Webhooks& operator=(const Webhooks&) = delete;

  // These four on one thread, which is the one that `done` is called on.
  void post(Post post, Done done);
  // Goes on with what is under way. True: something has finished, and there may be more to do at once.
  [[nodiscard]] bool work();
  // Waits until there is something to do, or wake().
  void wait();
  [[nodiscard]] std::size_t under_way() const { return transfers_.size(); }
  // Any thread.
  void wake();

 private:
  struct Transfer;
  void finish(Transfer& transfer, int code);
  [[nodiscard]] std::string explained(const Transfer& transfer, int code) const;

  WebhookRules rules_;
  void* multi_ = nullptr;  // CURLM*
  std::unordered_map<Transfer*, std::unique_ptr<Transfer>> transfers_;
};

}  // namespace futured::callback
