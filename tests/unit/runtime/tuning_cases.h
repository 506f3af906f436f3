// What the tests of tuning databases share: legal records, plain and random, and edited lines.
#pragma once

#include <string>
#include <string_view>

#include "codegen/generator.h"
#include "runtime/base/sha256.h"
#include "runtime/choose/tuning_record.h"
#include "tests/unit/codegen/legal_cases.h"
#include "tests/unit/problems.h"

namespace marlin::test {

inline const Target kH200{"sm_90a", 132};

// A config that is legal for every shape with n a multiple of 256 and k of 128.
inline Config plain_config(int stages = 4) {
  Config config = parse_config("m8 n256 w4x2 k64 s4 accumulators split1 b1");
  config.stages = stages;
  return config;
}

// A choice for 16x4096x4096 on an H200, to be changed as a test needs it.
inline TuningRecord plain_choice() {
  TuningRecord record;
  record.gpu = "NVIDIA H200";
  record.target = kH200;
  record.problem = problem_of(16, 4096, 4096, 128, false);
  record.config = plain_config();
  record.schema = schema_of(record.config.family());
  record.searched = searched_families();
  record.protocol = "race/1";
  record.us = 6.25;
  record.min_us = 6.125;
  record.max_us = 7;
  record.model_us = 6.5;
  record.nvrtc = "13.0";
  record.driver = 13000;
  return record;
}

inline TuningRecord choice_for(const Problem& problem, const Config& config, double us = 5) {
  TuningRecord record = plain_choice();
  record.problem = problem;
  record.config = config;
  record.us = us;
  return record;
}

// The same record of chained launches.
inline TuningRecord chained(TuningRecord record) {
  record.chained = true;
  return record;
}

inline TuningRecord random_record(RandomCases& cases) {
  TuningRecord record = plain_choice();
  const auto family = static_cast<Family>(cases.upto(3) - 1);
  LegalCase legal = cases.next(family);
  while (!legal.problem.shape.exact_m && rung_for(legal.problem.shape.m) != legal.problem.shape.m) {
    legal = cases.next(family);
  }
  record.kind = static_cast<TuningRecord::Kind>(cases.upto(3) - 1);
  record.gpu = "GPU \"" + std::to_string(cases.upto(9)) + "\" \\";
  record.target = legal.target;
  record.problem = legal.problem;
  record.chained = cases.upto(2) == 1;
  record.config = legal.config;
  const auto time = [&] { return static_cast<double>(cases.upto(1'000'000'000)) / 1000; };
  record.us = time();
  record.min_us = time();
  record.max_us = time();
  record.model_us = cases.upto(2) == 1 ? 0 : time();
  record.reason = std::string(static_cast<std::size_t>(cases.upto(200)), '~');
  record.driver = static_cast<int>(cases.upto(20000));
  // What its kind does not keep is not read back.
  if (record.kind != TuningRecord::Kind::failure) record.reason.clear();
  if (record.kind == TuningRecord::Kind::failure) record.us = record.min_us = record.max_us = 0;
  if (record.kind != TuningRecord::Kind::choice) {
    record.searched.clear();
    record.model_us = 0;
  }
  return record;
}

// The line without its newline.
inline std::string line_of(const TuningRecord& record) {
  std::string line = to_line(record);
  line.pop_back();
  return line;
}

// The body of a line with a checksum that is right for it.
inline std::string with_sum(const std::string& body) {
  return body + ",\"sum\":\"" + sha256_hex(body).substr(0, 16) + "\"}";
}

inline std::string body_of(const std::string& line) {
  return line.substr(0, line.find(",\"sum\""));
}

// The line with its first `from` replaced and a right checksum. `from` must be in it.
inline std::string edited(const std::string& line, std::string_view from, std::string_view to) {
  std::string body = body_of(line);
  return with_sum(body.replace(body.find(from), from.size(), to));
}

}  // namespace marlin::test
