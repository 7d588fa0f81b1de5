// Every bound of the system, with its unit. A queue, loop, wait or string that has no line here has no bound.
#pragma once

#include <cstddef>
#include <cstdint>

namespace futured::limits {

// Names: queues, pools, tasks, labels.
inline constexpr std::size_t kNameBytesMax = 128;
inline constexpr std::size_t kErrorMessageBytesMax = 4 * 1024;
inline constexpr std::size_t kErrorClassBytesMax = 128;

// Payloads and results.
inline constexpr std::size_t kInlineBytesMax = 16 * 1024;         // larger ones travel as segments inside the host
inline constexpr std::size_t kPayloadBytesMax = 4 * 1024 * 1024;  // sum of inline parts of one submitted job
inline constexpr std::size_t kPayloadPartsMax = 64;
inline constexpr std::size_t kStoredPartsMax = kPayloadPartsMax + 2;   // a result with what its task emitted and logged
inline constexpr std::size_t kResultBytesMax = 256 * 1024 * 1024;      // of one result, besides arrays
inline constexpr std::size_t kSegmentBytesMax = std::size_t{1} << 36;  // 64 GiB, one segment
inline constexpr std::size_t kSegmentsHeldMax = 4096;
inline constexpr std::size_t kContentTypeBytesMax = 1024;
inline constexpr std::size_t kStoredInlineBytesMax = 256 * 1024;  // of a part in the database; larger ones are files
inline constexpr std::int64_t kStoredCompressionMax = 9;          // zstd level of those; above it commits would wait

// Jobs that tasks submit.
inline constexpr std::size_t kChildPayloadBytesMax = kInlineBytesMax;        // arguments of one, encoded
inline constexpr std::size_t kChildBytesMax = kChildPayloadBytesMax + 1024;  // with its words and numbers
inline constexpr std::uint32_t kChildDepthMax = 16;                          // jobs above one: a chain of 17
inline constexpr std::uint64_t kChildrenPerAttemptMax = 1'000'000;           // that one attempt of a task submits

// Jobs that tasks wait for.
inline constexpr std::size_t kWaitJobsMax = 1'000;             // of all waits of a run
inline constexpr std::size_t kWaitsPerRunMax = 64;             // open at once in one run, of coroutines
inline constexpr std::size_t kWaitResultBytesMax = 64 * 1024;  // of a result that a task reads, encoded
inline constexpr std::size_t kWaitPageBytesMax = 640;          // of an outcome, in the answer to one call
inline constexpr std::size_t kWaitsShownMax = 100;             // jobs that a list names
inline constexpr std::uint32_t kLentWorkersDefault = 64;       // that a pool may have beyond its size, for those lent

// Arrays and the segment socket.
inline constexpr std::size_t kArrayDimensionsMax = 32;
inline constexpr std::size_t kDescriptorsPerMessageMax =
    253;  // beside one message of a unix socket; no kernel takes more
inline constexpr std::size_t kSegmentMessageBytesMax = 128 * 1024;  // one message of the segment socket
inline constexpr std::int64_t kSegmentReplyMs = 30'000;             // a client waits for one reply
inline constexpr std::size_t kMappingsPerWorkerMax = 64;            // segments a worker keeps mapped between jobs
inline constexpr std::int64_t kMappingIdleMs = 10'000;              // an idle worker then unmaps what it kept
inline constexpr std::size_t kArrayBlockBytesMin = 64 * 1024;       // of an array file: what is compressed at once
inline constexpr std::size_t kArrayBlockBytesMax = 64 * 1024 * 1024;

// Submits and replies.
inline constexpr std::size_t kBatchItemsMax = 10'000;
inline constexpr std::size_t kMessageBytesMax = 16 * 1024 * 1024;  // one gRPC message
inline constexpr std::size_t kListPageMax = 1'000;
inline constexpr std::size_t kWaitIdsMax = 1'000'000;  // ids one wait call may hold

// Clients.
inline constexpr std::size_t kConnectionsPerUserMax = 256;    // of the gRPC socket; fewer where descriptors are few
inline constexpr std::size_t kSegmentConnectionsMax = 1'024;  // of the segment socket
inline constexpr std::size_t kSegmentConnectionsPerUserMax = 128;      // of the segment socket
inline constexpr int kStreamsPerConnectionMax = 1'024;                 // calls at once
inline constexpr std::size_t kStreamLookaheadBytes = 4 * 1024 * 1024;  // read ahead of a call's own pace
inline constexpr std::size_t kFrameBytesMax = 1024 * 1024;             // one HTTP/2 frame
inline constexpr std::size_t kAnswerBytesMax = 2 * 1024 * 1024;        // one message of an answer that comes in several
inline constexpr std::size_t kPieceBytesMax = 1024 * 1024;             // of a result or an output that is streamed
inline constexpr std::size_t kResultInlineBytesMax = 64 * 1024;        // larger results are left out of outcomes
inline constexpr std::size_t kInboxBytesMax = 64 * 1024 * 1024;  // outcomes waiting for one client that reads slowly
inline constexpr std::size_t kInboxBytesTotalMax = 512 * 1024 * 1024;   // and for all of them
inline constexpr std::size_t kHeldOutcomesBytesMax = 16 * 1024 * 1024;  // kept by a wait that answers at its end
inline constexpr std::size_t kFollowBytesMax = 8 * 1024 * 1024;         // live output waiting for one follower
inline constexpr std::size_t kCancelEntriesMax = 10'000;                // jobs told one by one in an answer
inline constexpr std::size_t kContentFilesCountedMax = 100'000;         // files of payloads, for the figures
inline constexpr std::size_t kWorkerJobIdsMax = 1'024;                  // of the jobs that it runs, in an answer
inline constexpr std::size_t kRetriedIdsMax = 1'000'000;                // retried jobs that one Retry by filter passes
inline constexpr std::size_t kEventsKeptMax = 64 * 1024;                // changes of state, for those who watch
inline constexpr std::size_t kEventsBytesMax = 32 * 1024 * 1024;        // of them, causes included
inline constexpr std::size_t kQuestionsMax = 1'024;                     // reads of the store that wait
inline constexpr std::int64_t kRetryAfterMs = 100;  // advice to a client that was refused for lack of room

// Segments that the daemon holds for clients and results; less where the machine has less memory.
inline constexpr std::size_t kSegmentBytesTotalMax = std::size_t{16} << 30;
inline constexpr std::int64_t kUploadStalledMs = 60'000;           // nothing of it came so long: it is broken off
inline constexpr std::int64_t kUploadUnusedMs = 60LL * 60 * 1000;  // an uploaded one that nobody asks for is let go

// Job options.
inline constexpr std::uint32_t kAttemptsMax = 1'000;
inline constexpr std::int64_t kTimeoutMsMax = 366LL * 24 * 3600 * 1000;  // one year
inline constexpr std::int64_t kBackoffMsMax = 24LL * 3600 * 1000;
inline constexpr std::int64_t kBackoffMsMaxDefault = 3600 * 1000;
inline constexpr std::uint32_t kCrashesDefault = 3;  // workers a job may take down before it is given up
inline constexpr std::uint32_t kCrashesMax = 100;    // that it may ask for
inline constexpr std::uint32_t kLossesMax = 20;      // times it may be lost with its spawner at no charge
inline constexpr std::size_t kRetryClassesMax = 32;  // error classes in one list of a job's options
inline constexpr double kMemoryFactorMax = 100;      // of an attempt that follows one out of memory
inline constexpr std::int64_t kRetryMemoryBytesMax = std::int64_t{1} << 50;  // that it may have, whatever the factor

// Delayed starts.
inline constexpr std::int64_t kDelayMsMax = 3'653LL * 24 * 3600 * 1000;  // ten years ahead
inline constexpr std::uint32_t kDelayedClaimJobsMax = 1'024;             // due jobs that are read at once
inline constexpr std::uint64_t kDelayedClaimBytesMax = 4 * 1024 * 1024;  // payloads of them
inline constexpr std::int64_t kWallCheckNs =
    1'000'000'000;  // the clock may be set: while a job waits for it, it is read

// Dependencies. A blocked job is resident: about 400 bytes, its payload, and 120 bytes for each dependency.
inline constexpr std::size_t kDependenciesPerJobMax = 1'000;
inline constexpr std::size_t kBlockedJobsMax = 256 * 1024;
inline constexpr std::size_t kBlockedBytesMax = 256 * 1024 * 1024;  // of them, payloads included
inline constexpr std::size_t kOpenDependenciesMax = 512 * 1024;     // of all blocked jobs
inline constexpr std::size_t kNamedEventsMax = 10'000;              // that are set or waited for
inline constexpr std::size_t kBatchesAwaitedMax = 16 * 1024;  // by jobs that depend on all of a batch; 2.5 KiB each
inline constexpr std::size_t kResultsReadAtOnce = 16;         // jobs whose payloads are put together, each 4 MiB
inline constexpr std::uint32_t kStoppedLoadMax = 256;         // jobs of a batch that is stopped, looked up at once
inline constexpr std::uint32_t kParentsGapMax = 64;           // parents so near to each other are read at once

// Schedules.
inline constexpr std::size_t kSchedulesMax = 10'000;
inline constexpr std::size_t kSchedulePayloadBytesMax = 64 * 1024;  // of one; all of them stay in memory
inline constexpr std::size_t kCronBytesMax = 1'024;
inline constexpr std::int64_t kScheduleEveryMsMin = 1'000;
inline constexpr std::int64_t kScheduleJitterMsMax = 3600 * 1000;
inline constexpr std::uint32_t kCatchUpMax = 100;                // missed firings that are made up for
inline constexpr std::size_t kScheduleWaitingMax = 100;          // firings that wait for the job before them
inline constexpr std::int64_t kScheduleLateNs = 10'000'000'000;  // later than this, a firing was missed
inline constexpr std::uint32_t kNextFiringsMax = 1'000;          // that are told at once
inline constexpr std::size_t kZoneFileBytesMax = 256 * 1024;

// Core.
inline constexpr std::size_t kWindowBytesMax = 48 * 1024 * 1024;  // resident jobs of all queues, payloads included
inline constexpr std::size_t kWindowJobsPerQueueMin = 64;         // each queue keeps at least so many resident
inline constexpr std::size_t kQueuesMax = 10'000;
inline constexpr std::size_t kQueuePoolsMax = 64;                         // that the jobs of one queue may name
inline constexpr std::uint32_t kQueueConcurrencyMax = 1'000'000;          // that a queue may ask for, or have by key
inline constexpr double kQueueRateMax = 1e9;                              // starts in a period
inline constexpr std::uint32_t kQueueBurstMax = 1'000'000;                // of those at once
inline constexpr std::uint64_t kQueuedJobsMax = 1'000'000'000'000;        // that a queue may be bounded to
inline constexpr std::uint64_t kQueuedBytesMax = std::uint64_t{1} << 50;  // likewise, of payloads
inline constexpr std::uint32_t kQueueWeightMax = 1'000;                   // turns in a row
inline constexpr std::size_t kHeldJobsMax = 256 * 1024;  // jobs of streams that wait for room in full queues
inline constexpr std::uint64_t kHeldBytesMax = std::uint64_t{256} << 20;  // likewise, of what they brought
inline constexpr std::size_t kPurgeStepJobs = 2'048;     // queued jobs that one step of a purge cancels
inline constexpr std::int64_t kPurgeStepNs = 5'000'000;  // between two such steps
inline constexpr std::size_t kMoveStepJobs = 1'000;      // that one step moves to another queue
inline constexpr std::size_t kMovesMax = 64;             // such steps under way at once
inline constexpr std::size_t kQueueWaitsKept = 1'024;    // starts of a queue whose waits are told
inline constexpr std::size_t kSemaphoresMax = 10'000;
inline constexpr std::uint32_t kPermitsMax = 1'000'000;     // of one semaphore
inline constexpr std::size_t kNeedsMax = 16;                // semaphores that one job needs
inline constexpr std::size_t kIdleLimitKeysMax = 4096;      // remembered of a queue before idle ones are swept
inline constexpr std::size_t kIdleGroupsMax = 1024;         // likewise, of a lane: groups without a ready job
inline constexpr std::size_t kClaimJobsMax = 4'096;         // rows one claim brings in
inline constexpr std::uint64_t kClaimBytesMin = 64 * 1024;  // payloads a claim asks for, however full the window is
inline constexpr std::uint32_t kOffersPerSlotMax = 1'024;
inline constexpr std::int64_t kCreditNs = 4'000'000;      // work offered beyond the job a slot is at
inline constexpr std::int64_t kGrowAfterNs = 20'000'000;  // a pool without room for so long gets workers
inline constexpr std::int64_t kHeadCheckNs = 5'000'000;   // silence after which a slot's head is looked at
inline constexpr std::int64_t kTakeWithinNs =
    5'000'000'000;                                 // a worker that takes nothing of what lies there is killed
inline constexpr std::uint64_t kIdBlock = 65'536;  // job ids reserved by one commit

// Callbacks.
inline constexpr std::size_t kCallbacksPerSpecMax = 16;      // of one submit
inline constexpr std::size_t kCallbackBytesMax = 16 * 1024;  // one, encoded
inline constexpr std::size_t kCallbackHeadersMax = 32;       // of a webhook
inline constexpr std::size_t kCallbackUrlBytesMax = 2 * 1024;
inline constexpr std::uint32_t kCallbackAttemptsMax = 1'000;
inline constexpr std::int64_t kCallbackTimeoutMsMax = 600'000;     // of one delivery
inline constexpr std::uint32_t kCallbackLanes = 1 << 18;           // receivers that can be told apart
inline constexpr std::size_t kCallbacksWaitingMax = 64 * 1024;     // registered later, of jobs that have not ended
inline constexpr std::size_t kCallbacksWaitingPerJobMax = 256;     // of one job
inline constexpr std::size_t kBatchesWatchedMax = 64 * 1024;       // batches with a callback for the whole
inline constexpr std::size_t kLaterBatchesMax = 4 * 1024;          // likewise, but registered later
inline constexpr std::size_t kDeliveriesPerLaneMax = 8;            // under way to one receiver
inline constexpr std::size_t kDeliveriesUnderWayMax = 512;         // to all of them
inline constexpr std::size_t kDeliveriesReadyPerLaneMax = 64;      // read ahead for one receiver
inline constexpr std::size_t kDeliveriesReadyMax = 8 * 1024;       // and for all of them
inline constexpr std::int64_t kRedirectsMax = 20;                  // of one webhook that a configuration may allow
inline constexpr std::size_t kReceiverAnswerBytesMax = 16 * 1024;  // of a webhook's answer that are read

// Loop.
inline constexpr std::size_t kTurnEventsMax = 8'192;          // responses of workers that one turn takes
inline constexpr std::size_t kTurnJobsMax = 8'192;            // submitted jobs that one turn takes
inline constexpr std::size_t kExactDeadlinesMax = 64 * 1024;  // entries of timeouts on disk before they become coarse
inline constexpr std::size_t kPlaceJobsMax = 4'096;   // jobs counted from each end to tell one's place in a queue
inline constexpr std::size_t kDueLoadJobsMax = 256;   // timed-out jobs of the backlog read at once
inline constexpr std::size_t kKeyQueriesMax = 8'192;  // idempotency keys looked up at once, and one batch more
inline constexpr std::size_t kSubmitLaneJobsMax = 64 * 1024;  // jobs waiting to be stepped before readers pause
inline constexpr std::size_t kGatherJobsMax = 64 * 1024;      // row changes gathered before intake pauses

// Every loop of the daemon, as fut debug loop tells it.
inline constexpr std::int64_t kSlowStepNs = 10'000'000;  // what takes longer is noted
inline constexpr std::size_t kSlowStepsKept = 16;        // of one loop

// Channel: one sealed memfd per slot.
inline constexpr std::uint32_t kRunPlacesMax = 64 * 1024;  // of its run table
inline constexpr std::size_t kRequestRingBytes = 1024 * 1024;
inline constexpr std::size_t kResponseRingBytes = 4 * 1024 * 1024;

// Commands.
inline constexpr std::size_t kArgvBytesMax = 128 * 1024;
inline constexpr std::size_t kArgvCountMax = 4'096;
inline constexpr std::size_t kOutputBytesMax = 64 * 1024 * 1024;  // kept of each of stdout and stderr
inline constexpr std::size_t kOutputTailBytes = 4 * 1024;         // kept with a failed attempt

inline constexpr std::size_t kLiveOutputBytesMax = 256 * 1024;  // kept of a running job's stream for followers
inline constexpr std::size_t kLiveOutputBytesTotalMax = 64 * 1024 * 1024;  // of all of them

// Processes.
inline constexpr std::uint32_t kSlotsMax = 1'024;
inline constexpr std::int64_t kAliveToldNs = 100'000'000;  // between two heartbeats of a slot that watchers are told
inline constexpr std::uint64_t kWorkerMemoryBytesMin = 16 * 1024 * 1024;  // of a limit, for a worker and its libraries
inline constexpr std::uint32_t kJobsAtOnceMax = 63;                       // of one worker, on its threads
inline constexpr std::uint32_t kCoroutinesMax = 16 * 1024;                // of one worker of mode async
inline constexpr std::uint32_t kCoroutinesDefault = 1'000;
inline constexpr std::int64_t kKillGraceMs = 1'000;        // between SIGTERM and the end of the tree, by default
inline constexpr std::int64_t kStacksMs = 1'000;           // a worker that is to be killed may tell its stacks
inline constexpr std::size_t kStacksBytesMax = 64 * 1024;  // of one attempt
inline constexpr std::size_t kSocketPathBytesMax = 107;

// Retention: what [retention] says when it says nothing, and what one step of it may do. A step of so many jobs takes
// 2 to 5 ms of the store's thread, behind the answers of a commit.
inline constexpr int kRetentionHoursDefault = 7 * 24;
inline constexpr int kRetentionFailedHoursDefault = 30 * 24;
inline constexpr std::uint64_t kRetentionJobsDefault = 10'000'000;
inline constexpr std::uint64_t kRetentionBytesDefault = std::uint64_t{20} << 30;
inline constexpr std::int64_t kRetentionMsMax = std::int64_t{100} * 365 * 24 * 3600 * 1000;  // beyond: say "forever"
inline constexpr std::uint32_t kTrimJobsMax = 1'024;   // jobs that one step looks at
inline constexpr int kTrimPagesMax = 512;              // free pages that one step gives back to the file system; 2 MiB
inline constexpr int kTrimSpecsMax = 1'024;            // sets of options that one step looks at
inline constexpr int kTrimSpecRowsMax = 4'096;         // rows of jobs that it reads for that
inline constexpr int kTrimKeysMax = 512;               // idempotency keys that one step looks at
inline constexpr std::size_t kSpoolStepFiles = 1'024;  // files that one step of the sweep looks at
inline constexpr std::uint32_t kBatchReachMax = 1'000'000;  // how far behind its first job a batch is looked for

// The result cache: what [cache] says when it says nothing, and what one turn may do for it.
inline constexpr std::uint64_t kCacheBytesDefault = std::uint64_t{1} << 30;
inline constexpr std::uint64_t kCacheEntriesDefault = 100'000;
inline constexpr std::uint64_t kCacheEntriesMax = 1'000'000;  // about 400 bytes of memory each
inline constexpr std::uint64_t kCacheEntryBytes = 256;        // that an entry counts beside its result
inline constexpr std::size_t kCacheKeyBytesMax = 1'024;       // of a key that the client gives
inline constexpr int kCacheIgnoredMax = 64;                   // parts, and fields, that one policy may name
inline constexpr std::int64_t kCacheTtlMsMax = kRetentionMsMax;
inline constexpr std::uint64_t kCacheHotBytesMax = 32 * 1024 * 1024;   // results that are in memory, too
inline constexpr std::size_t kCacheHotResultBytesMax = 256 * 1024;     // a larger one is read for each hit
inline constexpr std::size_t kCacheAnswersMax = 1'024;                 // jobs answered by one turn
inline constexpr std::size_t kCacheAnswerBytesMax = 16 * 1024 * 1024;  // of their results, and of those read at once
inline constexpr std::size_t kCacheStepEntries = 256;                  // removed from disk by one turn
inline constexpr std::uint32_t kCachePageMax = 1'000;                  // entries listed at once
inline constexpr std::size_t kJsonDepthMax = 64;                       // of an argument that is put in one form

}  // namespace futured::limits
