// TuningRecord <-> its line: what is written reads back, and nothing else is read.
// Entry point: the tests of suite TuningRecord.
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "runtime/choose/tuning_db.h"
#include "tests/unit/runtime/tuning_cases.h"

namespace marlin::test {
namespace {

TEST(TuningRecord, ALineIsWhatTheFormatSays) {
  EXPECT_EQ(to_line(plain_choice()),
            with_sum("{\"v\":1,\"kind\":\"choice\",\"gpu\":\"NVIDIA H200\",\"arch\":\"sm_90a\","
                     "\"sms\":132,\"m\":16,\"n\":4096,\"k\":4096,\"group\":128,\"exact_m\":false,"
                     "\"a\":\"f16\",\"b\":\"i4\",\"c\":\"f16\",\"config\":{\"family\":\"stripe\","
                     "\"tile_m\":8,\"tile_n\":256,\"warps_n\":4,\"warps_k\":2,\"warp_k\":64,"
                     "\"stages\":4,\"scale_on\":\"accumulators\",\"partition\":\"split\","
                     "\"count\":1,\"blocks_per_sm\":1},\"schema\":1,\"searched\":\"stripe/1,decode/"
                     "1,wgmma/1\","
                     "\"protocol\":\"race/1\",\"us\":6.250,\"min_us\":6.125,\"max_us\":7.000,"
                     "\"model_us\":6.500,\"nvrtc\":\"13.0\",\"driver\":13000") +
                "\n");
}

// Lines that were written before there were chained launches stay what they are.
TEST(TuningRecord, OnlyAChainedOneSaysSo) {
  const std::string isolated = line_of(plain_choice());
  const std::string line = line_of(chained(plain_choice()));
  EXPECT_EQ(line, edited(isolated, "\"exact_m\":false", "\"exact_m\":false,\"chained\":true"));
  EXPECT_FALSE(parse_line(isolated).record->chained);
  EXPECT_TRUE(parse_line(line).record->chained);
}

// Only the families of sm_90 have clusters and early weights.
TEST(TuningRecord, OnlyAConfigWithEarlyWeightsSaysSo) {
  TuningRecord record = plain_choice();
  record.problem.shape.m = 8;
  record.config = parse_config("decode m8 n64 w1x8 k64 s4 accumulators cluster2 b1");
  const std::string line = line_of(record);
  EXPECT_NE(line.find("\"family\":\"decode\""), std::string::npos) << line;
  EXPECT_NE(line.find("\"partition\":\"cluster\",\"count\":2,\"blocks_per_sm\":1}"),
            std::string::npos)
      << line;
  EXPECT_EQ(parse_line(line).record->config, record.config);
  record.config.decode().early_weights = true;
  EXPECT_EQ(line_of(record),
            edited(line, "\"blocks_per_sm\":1", "\"blocks_per_sm\":1,\"early_weights\":true"));
  EXPECT_EQ(parse_line(line_of(record)).record->config, record.config);
}

// Counts of one, which all other families have, are not written.
TEST(TuningRecord, OnlyAWgmmaConfigSaysItsBurstAndRaster) {
  TuningRecord record = plain_choice();
  record.problem.shape.m = 512;
  record.config = parse_config("wgmma m128 n256 w8x1 k128 s3 weights split1 b1");
  const std::string line = line_of(record);
  EXPECT_NE(line.find("\"family\":\"wgmma\""), std::string::npos) << line;
  record.config.wgmma().k_steps_per_commit = 2;
  record.config.wgmma().raster = 4;
  const std::string more =
      edited(line, "\"blocks_per_sm\":1", "\"blocks_per_sm\":1,\"burst\":2,\"raster\":4");
  EXPECT_EQ(line_of(record), more);
  EXPECT_EQ(parse_line(more).record->config, record.config);
  EXPECT_FALSE(parse_line(edited(more, "\"burst\":2", "\"burst\":1")).record);
}

// A sound line of another scheme than ours is for no problem of ours.
TEST(TuningRecord, OfAnotherSchemeIsNeverServed) {
  const TuningRecord record = plain_choice();
  const std::string line = line_of(record);
  EXPECT_EQ(TuningFile("ours", line + "\n").choices(record.problem, record.target).size(), 1u);
  for (const auto& [ours, other] :
       {std::pair("\"b\":\"i4\"", "\"b\":\"u8b128\""), std::pair("\"a\":\"f16\"", "\"a\":\"bf16\""),
        std::pair("\"c\":\"f16\"", "\"c\":\"f32\"")}) {
    const std::string theirs = edited(line, ours, other);
    const ParsedLine parsed = parse_line(theirs);
    EXPECT_FALSE(parsed.record) << theirs;
    EXPECT_NE(parsed.problem.find("has a value that is unknown"), std::string::npos)
        << parsed.problem;
    EXPECT_TRUE(TuningFile("theirs", theirs + "\n").choices(record.problem, record.target).empty());
  }
}

TEST(TuningRecord, RandomLegalRecordsReadBack) {
  constexpr unsigned kSeed = 20240901;
  RandomCases cases(kSeed);
  for (int i = 0; i < 500; ++i) {
    const TuningRecord record = random_record(cases);
    const std::string line = line_of(record);
    EXPECT_LE(line.size(), kMostLineBytes);
    const ParsedLine parsed = parse_line(line);
    ASSERT_TRUE(parsed.record) << parsed.problem << "\n" << line;
    EXPECT_EQ(parsed.problem, "");
    EXPECT_EQ(line_of(*parsed.record), line);
    const TuningRecord& back = *parsed.record;
    EXPECT_EQ(back.kind, record.kind);
    EXPECT_EQ(back.gpu, record.gpu);
    EXPECT_EQ(back.target, record.target);
    EXPECT_EQ(back.problem, record.problem);
    EXPECT_EQ(back.chained, record.chained);
    EXPECT_EQ(back.config, record.config);
    EXPECT_EQ(back.schema, record.schema);
    EXPECT_EQ(back.searched, record.searched);
    EXPECT_EQ(back.protocol, record.protocol);
    EXPECT_EQ(back.us, record.us);
    EXPECT_EQ(back.min_us, record.min_us);
    EXPECT_EQ(back.max_us, record.max_us);
    EXPECT_EQ(back.model_us, record.model_us);
    EXPECT_EQ(back.reason, record.reason);
    EXPECT_EQ(back.nvrtc, record.nvrtc);
    EXPECT_EQ(back.driver, record.driver);
  }
}

TEST(TuningRecord, EveryTruncationIsRefused) {
  const std::string line = line_of(plain_choice());
  for (std::size_t size = 0; size < line.size(); ++size) {
    const ParsedLine parsed = parse_line(line.substr(0, size));
    EXPECT_FALSE(parsed.record) << size;
    EXPECT_NE(parsed.problem, "") << size;
  }
  EXPECT_FALSE(parse_line(line + " ").record);
  EXPECT_FALSE(parse_line(line + "\n").record);
  EXPECT_FALSE(parse_line(line + line).record);
  EXPECT_FALSE(parse_line(" " + line).record);
}

TEST(TuningRecord, EveryChangeOfOneByteIsRefused) {
  const std::string line = line_of(plain_choice());
  for (std::size_t at = 0; at < line.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      std::string other = line;
      other[at] = static_cast<char>(value);
      if (other == line) continue;
      const ParsedLine parsed = parse_line(other);
      ASSERT_FALSE(parsed.record) << at << " " << value;
      ASSERT_NE(parsed.problem, "") << at << " " << value;
    }
  }
}

TEST(TuningRecord, HostileLinesAreRefusedWithTheRule) {
  const std::string good = line_of(plain_choice());
  const std::string many(100'000, '[');
  const struct {
    std::string line, problem;
  } cases[] = {
      {"", "is no JSON object"},
      {"null", "is no JSON object"},
      {"[]", "is no JSON object"},
      {"{}", "\"v\" is not there"},
      {"{", "\"v\" is not there"},
      {many, "has 100000 bytes, over 4096"},
      {many.substr(0, 4000), "is no JSON object"},
      {"{\"v\":" + many.substr(0, 4000), "\"v\" is not 1"},
      {std::string(4000, '\0'), "is no JSON object"},
      {std::string(4097, ' '), "has 4097 bytes, over 4096"},
      {edited(good, "\"v\":1", "\"v\":2"), "\"v\" is not 1"},
      {edited(good, "\"choice\"", "\"guess\""), "\"kind\" has a value that is unknown"},
      {edited(good, "\"choice\"", "7"), "\"kind\" is no text"},
      {edited(good, "\"stripe\"", "\"plane\""), "\"family\" has a value that is unknown"},
      {edited(good, "\"f16\"", "\"f32\""), "\"a\" has a value that is unknown"},
      {edited(good, "\"a\"", "\"chained\":false,\"a\""), "\"chained\" is there and not true"},
      {edited(good, "\"a\"", "\"chained\":1,\"a\""), "\"chained\" is there and not true"},
      {edited(good, "\"a\"", "\"chained\":true,\"chained\":true,\"a\""), "\"a\" is not there"},
      {edited(good, "\"exact_m\"", "\"chained\":true,\"exact_m\""), "\"exact_m\" is not there"},
      {edited(good, "\"config\":{", "\"config\":[["), "\"config\" is no object"},
      {edited(good, "NVIDIA H200", ""), "the GPU has no name"},
      {edited(good, "H200",
              std::string("H\0"
                          "00",
                          4)),
       "no printable ASCII"},
      {edited(good, "H200", "H\xff"), "no printable ASCII"},
      {edited(good, "H200", "H\xc3\xa9"), "no printable ASCII"},
      {edited(good, "H200", "H\n"), "no printable ASCII"},
      {edited(good, "H200", "\\u0048"), "canonical form"},
      {edited(good, "H200", "\\H"), "canonical form"},
      {edited(good, "H200", std::string(300, 'H')), "\"gpu\" has more than 200 characters"},
      {edited(good, "\"us\":6.250", "\"us\":1e999"), "\"min_us\" is not there"},
      {edited(good, "\"us\":6.250", "\"us\":" + std::string(400, '9') + ".000"), "is no number"},
      {edited(good, "\"us\":6.250", "\"us\":nan"), "\"us\" is no number"},
      {edited(good, "\"us\":6.250", "\"us\":NaN"), "\"us\" is no number"},
      {edited(good, "\"us\":6.250", "\"us\":inf"), "\"us\" is no number"},
      {edited(good, "\"us\":6.250", "\"us\":\"6\""), "\"us\" is no number"},
      {edited(good, "\"us\":6.250", "\"us\":0.000"), "us = 0 is not above 0"},
      {edited(good, "\"us\":6.250", "\"us\":-6.250"), "us = -6.25 is not above 0"},
      {edited(good, "\"us\":6.250", "\"us\":6.25"), "canonical form"},
      {edited(good, "\"us\":6.250", "\"us\":06.250"), "canonical form"},
      {edited(good, "\"us\":6.250", "\"us\":6.2501"), "canonical form"},
      {edited(good, "\"us\":6.250", "\"us\":1000000001.000"), "is not in 0..1000000000"},
      {edited(good, "6.125", "-0.000"), "is not in 0..1000000000"},
      {edited(good, "6.500", "-1.000"), "is not in 0..1000000000"},
      {edited(good, "\"m\":16", "\"m\":016"), "canonical form"},
      {edited(good, "\"m\":16", "\"m\":+16"), "\"m\" is no integer"},
      {edited(good, "\"m\":16", "\"m\":16.0"), "\"n\" is not there"},
      {edited(good, "\"m\":16", "\"m\":1e1"), "\"n\" is not there"},
      {edited(good, "\"m\":16", "\"m\":99999999999999999999"), "\"m\" is no integer"},
      {edited(good, "\"m\":16", "\"m\":9223372036854775807"), "m = 9223372036854775807 is not in"},
      {edited(good, "\"m\":16", "\"m\":-1"), "m = -1 is not in 1..65536"},
      {edited(good, "\"m\":16", "\"m\":17"), "m = 17 is neither exact nor a rung"},
      {edited(good, "\"n\":4096", "\"n\":4097"), "n = 4097 is not a multiple of 64"},
      {edited(good, "\"group\":128", "\"group\":48"), "group = 48 is none of 32, 64, 128, -1"},
      {edited(good, "\"m\":16", "\"m\":16,\"m\":16"), "\"n\" is not there"},
      {edited(good, "\"m\":16,", ""), "\"m\" is not there"},
      {edited(good, "\"m\":16,\"n\":4096", "\"n\":4096,\"m\":16"), "\"m\" is not there"},
      {edited(good, "\"m\":16", "\"m\": 16"), "\"m\" is no integer"},
      {edited(good, "sm_90a", "sm_42"), "arch = sm_42 is none of"},
      {edited(good, "\"sms\":132", "\"sms\":0"), "sms = 0 is not in 1..1024"},
      {edited(good, "\"sms\":132", "\"sms\":99999999999"), "\"sms\" is no integer"},
      {edited(good, "\"stages\":4", "\"stages\":0"), "0 in the config is not in 1.."},
      {edited(good, "\"stages\":4", "\"stages\":2147483647"), "2147483647 in the config"},
      {edited(good, "\"stages\":4", "\"stages\":1000000"), "is not legal for 16x4096x4096"},
      {edited(good, "\"tile_n\":256", "\"tile_n\":192"), "is not legal for 16x4096x4096"},
      {edited(good, "\"blocks_per_sm\":1", "\"blocks_per_sm\":1,\"x\":1"), "more fields"},
      {edited(good, "\"schema\":1", "\"schema\":0"), "schema = 0 is not above 0"},
      {edited(good, "\"driver\":13000", "\"driver\":-1"), "driver = -1 is below 0"},
      {body_of(good), "its checksum is wrong"},
      {body_of(good) + "}", "its checksum is wrong"},
      {body_of(good) + ",\"sum\":\"0123456789abcdef\"}", "its checksum is wrong"},
  };
  for (const auto& [line, problem] : cases) {
    const ParsedLine parsed = parse_line(line);
    EXPECT_FALSE(parsed.record) << line.substr(0, 600);
    EXPECT_NE(parsed.problem.find(problem), std::string::npos) << parsed.problem << "\n"
                                                               << line.substr(0, 600);
  }
}

TEST(TuningRecord, ConfigsOfAnotherSchemaNeedNotBeLegalNow) {
  const std::string good = line_of(plain_choice());
  const std::string old = edited(good, "\"schema\":1", "\"schema\":77");
  ParsedLine parsed = parse_line(old);
  ASSERT_TRUE(parsed.record) << parsed.problem;
  EXPECT_FALSE(current_schema(*parsed.record));
  EXPECT_TRUE(current_schema(plain_choice()));
  EXPECT_TRUE(parse_line(edited(old, "\"tile_n\":256", "\"tile_n\":192")).record);
  EXPECT_FALSE(parse_line(edited(old, "\"tile_n\":256", "\"tile_n\":-192")).record);
}

TEST(TuningRecord, WhatCouldNotBeReadIsNotWritten) {
  const auto refuses = [](auto change) {
    TuningRecord record = plain_choice();
    change(record);
    EXPECT_THROW(to_line(record), Error);
  };
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  refuses([](TuningRecord& r) { r.gpu = ""; });
  refuses([](TuningRecord& r) { r.us = 0; });
  refuses([](TuningRecord& r) { r.us = 0.0001; });
  refuses([](TuningRecord& r) { r.us = std::numeric_limits<double>::quiet_NaN(); });
  refuses([&](TuningRecord& r) { r.max_us = kInfinity; });
  refuses([](TuningRecord& r) { r.problem.shape.m = 17; });
  refuses([](TuningRecord& r) { r.schema = 0; });
  refuses([](TuningRecord& r) { r.target.arch = "sm_42"; });
  refuses([](TuningRecord& r) { r.config.tile_n = 192; });
}

TEST(TuningRecord, TextsAreMadePlain) {
  TuningRecord record = plain_choice();
  record.kind = TuningRecord::Kind::failure;
  record.reason = "line 1\nline \xff\"2\"" + std::string(300, '.');
  const ParsedLine parsed = parse_line(line_of(record));
  ASSERT_TRUE(parsed.record) << parsed.problem;
  EXPECT_EQ(parsed.record->reason.substr(0, 17), "line 1?line ?\"2\".");
  EXPECT_EQ(parsed.record->reason.size(), 200U);
}

TEST(TuningRecord, StaleIsWhatWasMeasuredOtherwise) {
  TuningRecord record = plain_choice();
  EXPECT_FALSE(is_stale(record, "13.0", 13000));
  EXPECT_FALSE(is_stale(record, "", 0));
  EXPECT_TRUE(is_stale(record, "12.8", 13000));
  EXPECT_TRUE(is_stale(record, "13.0", 12080));
  record.searched = "plane/3," + searched_families();
  EXPECT_FALSE(is_stale(record, "13.0", 13000));
  for (const char* searched : {"", "plane/3", "stripe/0", "stripe", "stripe/11", "xstripe/1"}) {
    record.searched = searched;
    EXPECT_TRUE(is_stale(record, "13.0", 13000)) << searched;
    EXPECT_TRUE(is_stale(record, "", 0)) << searched;
    record.kind = TuningRecord::Kind::timing;
    EXPECT_FALSE(is_stale(record, "13.0", 13000)) << searched;
    record.kind = TuningRecord::Kind::choice;
  }
}

}  // namespace
}  // namespace marlin::test
