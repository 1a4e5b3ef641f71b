;;! covers: proxy_call_foreign_function
;;! about: CEL expressions: times and durations, from text and numbers, their parts.
;;! deviation: there is no database of zones here: what is named is refused as the expression is created
;;! step: GET /a | x-kit-a: 1
;;! expect:
;;!   # GET /a | x-kit-a: 1
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z') -> = 0 "\15\07i\fe+|\5c\17"
;;!   request_headers| timestamp('2023-05-06T07:08:09+01:30') -> = 0 "\00J\f8\adBw\5c\17"
;;!   request_headers| timestamp('2023-05-06T07:08:09') -> = 10
;;!   request_headers| timestamp('2023-05-06') -> = 10
;;!   request_headers| timestamp('2023-05-06t07:08:09z') -> = 0 "\00:\0d\f7+|\5c\17"
;;!   request_headers| timestamp('2023-05-06 07:08:09Z') -> = 10
;;!   request_headers| timestamp('2023-05-06T24:00:00Z') -> = 10
;;!   request_headers| timestamp('2023-06-30T23:59:60Z') -> = 0 "\00\00\9d\90N\95m\17"
;;!   request_headers| timestamp('2023-02-30T00:00:00Z') -> = 10
;;!   request_headers| timestamp('1969-12-31T23:59:59Z') -> = 0 "\006e\c4\ff\ff\ff\ff"
;;!   request_headers| timestamp('0001-01-01T00:00:00Z') < timestamp('9999-12-31T23:59:59Z') -> = 0 "\01"
;;!   request_headers| timestamp('0001-01-01T00:00:00Z') -> = 0 "\00\00\00\00\00\00\00\80"
;;!   request_headers| timestamp('9999-12-31T23:59:59Z') -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   request_headers| timestamp('10000-01-01T00:00:00Z') -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   request_headers| timestamp('nonsense') -> = 10
;;!   request_headers| timestamp('') -> = 10
;;!   request_headers| timestamp(' 2023-05-06T07:08:09Z ') -> = 0 "\00:\0d\f7+|\5c\17"
;;!   request_headers| timestamp('2023-5-6T7:8:9Z') -> = 0 "\00:\0d\f7+|\5c\17"
;;!   request_headers| timestamp('2023-05-06T07:08Z') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09+0130') -> = 0 "\00J\f8\adBw\5c\17"
;;!   request_headers| timestamp('2023-05-06T07:08:09+01') -> = 0 "\00\9aT\c6\e5x\5c\17"
;;!   request_headers| timestamp('2023-05-06T07:08:09.Z') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09.1234567891Z') -> = 0 "\15\07i\fe+|\5c\17"
;;!   request_headers| timestamp('+2023-05-06T07:08:09Z') -> = 10
;;!   request_headers| timestamp('23-05-06T07:08:09Z') -> = 0 "\00\00\00\00\00\00\00\80"
;;!   request_headers| timestamp('-0001-05-06T07:08:09Z') -> = 0 "\00\00\00\00\00\00\00\80"
;;!   request_headers| timestamp('2023-05-06T07:08:61Z') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:60:09Z') -> = 10
;;!   request_headers| timestamp('2023-13-06T07:08:09Z') -> = 10
;;!   request_headers| timestamp('2023-00-06T07:08:09Z') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09Zx') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09+24:00') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09-23:59') -> = 0 "\00\e2\14\90\b2\ca\5c\17"
;;!   request_headers| timestamp('2024-02-29T00:00:00Z') -> = 0 "\00\00\9a~T,\b8\17"
;;!   request_headers| timestamp('2023-05-06T07:08:09.5+01:00') -> = 0 "\00\ff!\e4\e5x\5c\17"
;;!   request_headers| timestamp(0) -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| timestamp(1700000000) -> = 0 "\00\00*6\fe\9c\97\17"
;;!   request_headers| timestamp(1u) -> = 10
;;!   request_headers| timestamp(1.5) -> = 10
;;!   request_headers| timestamp(253402300800) -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   request_headers| timestamp(-1) -> = 0 "\006e\c4\ff\ff\ff\ff"
;;!   request_headers| timestamp(timestamp(5)) -> = 0 "\00\f2\05*\01\00\00\00"
;;!   request_headers| timestamp() -> create = 2
;;!   request_headers| timestamp(1, 2) -> create = 2
;;!   request_headers| string(timestamp('2023-05-06T07:08:09.123456789Z')) -> = 0 "2023-05-06T07:08:09.123456789Z"
;;!   request_headers| string(timestamp('2023-05-06T07:08:09Z')) -> = 0 "2023-05-06T07:08:09Z"
;;!   request_headers| string(timestamp('2023-05-06T07:08:09.5Z')) -> = 0 "2023-05-06T07:08:09.500Z"
;;!   request_headers| string(timestamp(-1)) -> = 0 "1969-12-31T23:59:59Z"
;;!   request_headers| string(timestamp(253402300800)) -> = 10
;;!   request_headers| string(timestamp('0000-12-31T23:59:59Z')) -> = 10
;;!   request_headers| string(timestamp('2023-05-06T07:08:09.000005Z')) -> = 0 "2023-05-06T07:08:09.000005Z"
;;!   request_headers| string(duration('315576000001s')) -> = 10
;;!   request_headers| string(duration('-1.5s')) -> = 0 "-1.500s"
;;!   request_headers| string(duration('1us')) -> = 0 "0.000001s"
;;!   request_headers| string(duration('1ns')) -> = 0 "0.000000001s"
;;!   request_headers| int(timestamp('2023-05-06T07:08:09.123456789Z')) -> = 0 "\d9\fcUd\00\00\00\00"
;;!   request_headers| int(timestamp(-1)) -> = 0 "\ff\ff\ff\ff\ff\ff\ff\ff"
;;!   request_headers| uint(timestamp(1)) -> = 10
;;!   request_headers| double(timestamp(1)) -> = 10
;;!   request_headers| bytes(timestamp(1)) -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getFullYear() -> = 0 "\e7\07\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getMonth() -> = 0 "\04\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getDate() -> = 0 "\06\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getDayOfMonth() -> = 0 "\05\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getDayOfWeek() -> = 0 "\06\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getDayOfYear() -> = 0 "}\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours() -> = 0 "\07\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getMinutes() -> = 0 "\08\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getSeconds() -> = 0 "\09\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getMilliseconds() -> = 0 "{\00\00\00\00\00\00\00"
;;!   request_headers| timestamp(-1).getFullYear() -> = 0 "\b1\07\00\00\00\00\00\00"
;;!   request_headers| timestamp(-1).getSeconds() -> = 0 ";\00\00\00\00\00\00\00"
;;!   request_headers| timestamp(-1).getDayOfWeek() -> = 0 "\03\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2024-12-31T23:59:59Z').getDayOfYear() -> = 0 "m\01\00\00\00\00\00\00"
;;!   request_headers| timestamp('1969-12-31T23:59:59.999Z').getMilliseconds() -> = 0 "\e7\03\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('+01:30') -> = 0 "\08\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('-08:00') -> = 0 "\17\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('02:00') -> = 0 "\09\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('2:00') -> = 0 "\09\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('+2') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('+24:00') -> = 0 "\07\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('+01:75') -> = 0 "\09\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('UTC') -> = 0 "\07\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('Etc/UTC') -> = 0 "\07\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('America/New_York') -> = 0 "\03\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('GMT') -> = 0 "\07\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('Z') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('nonsense') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('') -> = 0 "\07\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours(1) -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getDate('-08:00') -> = 0 "\05\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getDayOfMonth('-08:00') -> = 0 "\04\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getMinutes('+01:30') -> = 0 "&\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getFullYear('Europe/Berlin') -> = 0 "\e7\07\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getDayOfWeek('-23:59') -> = 0 "\05\00\00\00\00\00\00\00"
;;!   request_headers| getHours(timestamp('2023-05-06T07:08:09.123456789Z')) -> create = 2
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').nosuch() -> create = 2
;;!   request_headers| request.time.getFullYear() > 2000 -> = 0 "\01"
;;!   request_headers| request.time > timestamp('2020-01-01T00:00:00Z') -> = 0 "\01"
;;!   request_headers| timestamp(10) - timestamp(4) -> = 0 "\00\bc\a0e\01\00\00\00"
;;!   request_headers| timestamp(10) + duration('1s') -> = 0 "\00\ae\a6\8f\02\00\00\00"
;;!   request_headers| duration('1s') + timestamp(10) -> = 0 "\00\ae\a6\8f\02\00\00\00"
;;!   request_headers| timestamp(10) - duration('1s') -> = 0 "\00\1aq\18\02\00\00\00"
;;!   request_headers| timestamp(1) + timestamp(2) -> = 10
;;!   request_headers| timestamp(1) + 1 -> = 10
;;!   request_headers| timestamp(1) == timestamp('1970-01-01T00:00:01Z') -> = 0 "\01"
;;!   request_headers| timestamp(1) < 5 -> = 10
;;!   request_headers| timestamp(1) == 1 -> = 0 "\00"
;;!   request_headers| timestamp('9999-12-31T23:59:59Z') + duration('1s') -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   request_headers| timestamp('0001-01-01T00:00:00Z') - duration('1s') -> = 0 "\00\00\00\00\00\00\00\80"
;;!   request_headers| duration('3661.5s').getHours() -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| duration('3661.5s').getMinutes() -> = 0 "=\00\00\00\00\00\00\00"
;;!   request_headers| duration('3661.5s').getSeconds() -> = 0 "M\0e\00\00\00\00\00\00"
;;!   request_headers| duration('3661.5s').getMilliseconds() -> = 0 "\f4\01\00\00\00\00\00\00"
;;!   request_headers| duration('3661.5s').getFullYear() -> = 10
;;!   request_headers| duration('-3661.5s').getMinutes() -> = 0 "\c3\ff\ff\ff\ff\ff\ff\ff"
;;!   request_headers| duration('-1.5s').getMilliseconds() -> = 0 "\0c\fe\ff\ff\ff\ff\ff\ff"
;;!   request_headers| duration('3661.5s').getHours('UTC') -> = 10
;;!   request_headers| string(duration('3661.5s')) -> = 0 "3661.500s"
;;!   request_headers| string(duration('0s')) -> = 0 "0s"
;;!   request_headers| string(duration('-1ms')) -> = 0 "-0.001s"
;;!   request_headers| int(duration('3661.5s')) -> = 10
;;!   request_headers| duration('1d') -> = 10
;;!   request_headers| duration('1.5h') -> = 0 "\00\f0\14I\e9\04\00\00"
;;!   request_headers| duration('1us1ns') -> = 0 "\e9\03\00\00\00\00\00\00"
;;!   request_headers| duration('-1h30m') -> = 0 "\00\10\eb\b6\16\fb\ff\ff"
;;!   request_headers| duration('+1s') -> = 0 "\00\ca\9a;\00\00\00\00"
;;!   request_headers| duration('0') -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| duration('') -> = 10
;;!   request_headers| duration('1') -> = 10
;;!   request_headers| duration(1) -> = 10
;;!   request_headers| duration('.5s') -> = 0 "\00e\cd\1d\00\00\00\00"
;;!   request_headers| duration('1.s') -> = 0 "\00\ca\9a;\00\00\00\00"
;;!   request_headers| duration('.s') -> = 10
;;!   request_headers| duration('1s2h') -> = 0 "\00\0a\0c\9d\8c\06\00\00"
;;!   request_headers| duration('1.0000000019s') -> = 0 "\01\ca\9a;\00\00\00\00"
;;!   request_headers| duration('--1s') -> = 10
;;!   request_headers| duration('1') -> = 10
;;!   request_headers| duration('inf') -> = 10
;;!   request_headers| duration('1µs') -> = 10
;;!   request_headers| duration(duration('1s')) -> = 0 "\00\ca\9a;\00\00\00\00"
;;!   request_headers| duration('1 s') -> = 10
;;!   request_headers| duration('9223372036s') -> = 0 "\00(\0d\cd\ff\ff\ff\7f"
;;!   request_headers| duration('9223372037s') -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   request_headers| duration('315576000000s') -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   request_headers| duration('1s') * 2 -> = 10
;;!   request_headers| duration('1s') / 2 -> = 10
;;!   request_headers| -duration('1s') -> = 10
;;!   request_headers| duration('1h') - duration('1m') -> = 0 "\00Hq88\03\00\00"
;;!   request_headers| duration('9223372036s') + duration('9223372036s') -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   ^ GET /a x-kit-a="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # GET /a | x-kit-a: 1
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z') -> = 0 "\15\07i\fe+|\5c\17"
;;!   request_headers| timestamp('2023-05-06T07:08:09+01:30') -> = 0 "\00J\f8\adBw\5c\17"
;;!   request_headers| timestamp('2023-05-06T07:08:09') -> = 10
;;!   request_headers| timestamp('2023-05-06') -> = 10
;;!   request_headers| timestamp('2023-05-06t07:08:09z') -> = 0 "\00:\0d\f7+|\5c\17"
;;!   request_headers| timestamp('2023-05-06 07:08:09Z') -> = 10
;;!   request_headers| timestamp('2023-05-06T24:00:00Z') -> = 10
;;!   request_headers| timestamp('2023-06-30T23:59:60Z') -> = 0 "\00\00\9d\90N\95m\17"
;;!   request_headers| timestamp('2023-02-30T00:00:00Z') -> = 10
;;!   request_headers| timestamp('1969-12-31T23:59:59Z') -> = 0 "\006e\c4\ff\ff\ff\ff"
;;!   request_headers| timestamp('0001-01-01T00:00:00Z') < timestamp('9999-12-31T23:59:59Z') -> = 0 "\01"
;;!   request_headers| timestamp('0001-01-01T00:00:00Z') -> = 0 "\00\00\00\00\00\00\00\80"
;;!   request_headers| timestamp('9999-12-31T23:59:59Z') -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   request_headers| timestamp('10000-01-01T00:00:00Z') -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   request_headers| timestamp('nonsense') -> = 10
;;!   request_headers| timestamp('') -> = 10
;;!   request_headers| timestamp(' 2023-05-06T07:08:09Z ') -> = 0 "\00:\0d\f7+|\5c\17"
;;!   request_headers| timestamp('2023-5-6T7:8:9Z') -> = 0 "\00:\0d\f7+|\5c\17"
;;!   request_headers| timestamp('2023-05-06T07:08Z') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09+0130') -> = 0 "\00J\f8\adBw\5c\17"
;;!   request_headers| timestamp('2023-05-06T07:08:09+01') -> = 0 "\00\9aT\c6\e5x\5c\17"
;;!   request_headers| timestamp('2023-05-06T07:08:09.Z') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09.1234567891Z') -> = 0 "\15\07i\fe+|\5c\17"
;;!   request_headers| timestamp('+2023-05-06T07:08:09Z') -> = 10
;;!   request_headers| timestamp('23-05-06T07:08:09Z') -> = 0 "\00\00\00\00\00\00\00\80"
;;!   request_headers| timestamp('-0001-05-06T07:08:09Z') -> = 0 "\00\00\00\00\00\00\00\80"
;;!   request_headers| timestamp('2023-05-06T07:08:61Z') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:60:09Z') -> = 10
;;!   request_headers| timestamp('2023-13-06T07:08:09Z') -> = 10
;;!   request_headers| timestamp('2023-00-06T07:08:09Z') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09Zx') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09+24:00') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09-23:59') -> = 0 "\00\e2\14\90\b2\ca\5c\17"
;;!   request_headers| timestamp('2024-02-29T00:00:00Z') -> = 0 "\00\00\9a~T,\b8\17"
;;!   request_headers| timestamp('2023-05-06T07:08:09.5+01:00') -> = 0 "\00\ff!\e4\e5x\5c\17"
;;!   request_headers| timestamp(0) -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| timestamp(1700000000) -> = 0 "\00\00*6\fe\9c\97\17"
;;!   request_headers| timestamp(1u) -> = 10
;;!   request_headers| timestamp(1.5) -> = 10
;;!   request_headers| timestamp(253402300800) -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   request_headers| timestamp(-1) -> = 0 "\006e\c4\ff\ff\ff\ff"
;;!   request_headers| timestamp(timestamp(5)) -> = 0 "\00\f2\05*\01\00\00\00"
;;!   request_headers| timestamp() -> create = 2
;;!   request_headers| timestamp(1, 2) -> create = 2
;;!   request_headers| string(timestamp('2023-05-06T07:08:09.123456789Z')) -> = 0 "2023-05-06T07:08:09.123456789Z"
;;!   request_headers| string(timestamp('2023-05-06T07:08:09Z')) -> = 0 "2023-05-06T07:08:09Z"
;;!   request_headers| string(timestamp('2023-05-06T07:08:09.5Z')) -> = 0 "2023-05-06T07:08:09.500Z"
;;!   request_headers| string(timestamp(-1)) -> = 0 "1969-12-31T23:59:59Z"
;;!   request_headers| string(timestamp(253402300800)) -> = 10
;;!   request_headers| string(timestamp('0000-12-31T23:59:59Z')) -> = 10
;;!   request_headers| string(timestamp('2023-05-06T07:08:09.000005Z')) -> = 0 "2023-05-06T07:08:09.000005Z"
;;!   request_headers| string(duration('315576000001s')) -> = 10
;;!   request_headers| string(duration('-1.5s')) -> = 0 "-1.500s"
;;!   request_headers| string(duration('1us')) -> = 0 "0.000001s"
;;!   request_headers| string(duration('1ns')) -> = 0 "0.000000001s"
;;!   request_headers| int(timestamp('2023-05-06T07:08:09.123456789Z')) -> = 0 "\d9\fcUd\00\00\00\00"
;;!   request_headers| int(timestamp(-1)) -> = 0 "\ff\ff\ff\ff\ff\ff\ff\ff"
;;!   request_headers| uint(timestamp(1)) -> = 10
;;!   request_headers| double(timestamp(1)) -> = 10
;;!   request_headers| bytes(timestamp(1)) -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getFullYear() -> = 0 "\e7\07\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getMonth() -> = 0 "\04\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getDate() -> = 0 "\06\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getDayOfMonth() -> = 0 "\05\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getDayOfWeek() -> = 0 "\06\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getDayOfYear() -> = 0 "}\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours() -> = 0 "\07\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getMinutes() -> = 0 "\08\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getSeconds() -> = 0 "\09\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getMilliseconds() -> = 0 "{\00\00\00\00\00\00\00"
;;!   request_headers| timestamp(-1).getFullYear() -> = 0 "\b1\07\00\00\00\00\00\00"
;;!   request_headers| timestamp(-1).getSeconds() -> = 0 ";\00\00\00\00\00\00\00"
;;!   request_headers| timestamp(-1).getDayOfWeek() -> = 0 "\03\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2024-12-31T23:59:59Z').getDayOfYear() -> = 0 "m\01\00\00\00\00\00\00"
;;!   request_headers| timestamp('1969-12-31T23:59:59.999Z').getMilliseconds() -> = 0 "\e7\03\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('+01:30') -> = 0 "\08\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('-08:00') -> = 0 "\17\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('02:00') -> = 0 "\09\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('2:00') -> = 0 "\09\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('+2') -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('+24:00') -> = 0 "\07\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('+01:75') -> = 0 "\09\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('UTC') -> = 0 "\07\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('Etc/UTC') -> = 0 "\07\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('America/New_York') -> create = 2
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('GMT') -> = 0 "\07\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('Z') -> create = 2
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('nonsense') -> create = 2
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours('') -> = 0 "\07\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getHours(1) -> = 10
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getDate('-08:00') -> = 0 "\05\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getDayOfMonth('-08:00') -> = 0 "\04\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getMinutes('+01:30') -> = 0 "&\00\00\00\00\00\00\00"
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getFullYear('Europe/Berlin') -> create = 2
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').getDayOfWeek('-23:59') -> = 0 "\05\00\00\00\00\00\00\00"
;;!   request_headers| getHours(timestamp('2023-05-06T07:08:09.123456789Z')) -> create = 2
;;!   request_headers| timestamp('2023-05-06T07:08:09.123456789Z').nosuch() -> create = 2
;;!   request_headers| request.time.getFullYear() > 2000 -> = 0 "\01"
;;!   request_headers| request.time > timestamp('2020-01-01T00:00:00Z') -> = 0 "\01"
;;!   request_headers| timestamp(10) - timestamp(4) -> = 0 "\00\bc\a0e\01\00\00\00"
;;!   request_headers| timestamp(10) + duration('1s') -> = 0 "\00\ae\a6\8f\02\00\00\00"
;;!   request_headers| duration('1s') + timestamp(10) -> = 0 "\00\ae\a6\8f\02\00\00\00"
;;!   request_headers| timestamp(10) - duration('1s') -> = 0 "\00\1aq\18\02\00\00\00"
;;!   request_headers| timestamp(1) + timestamp(2) -> = 10
;;!   request_headers| timestamp(1) + 1 -> = 10
;;!   request_headers| timestamp(1) == timestamp('1970-01-01T00:00:01Z') -> = 0 "\01"
;;!   request_headers| timestamp(1) < 5 -> = 10
;;!   request_headers| timestamp(1) == 1 -> = 0 "\00"
;;!   request_headers| timestamp('9999-12-31T23:59:59Z') + duration('1s') -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   request_headers| timestamp('0001-01-01T00:00:00Z') - duration('1s') -> = 0 "\00\00\00\00\00\00\00\80"
;;!   request_headers| duration('3661.5s').getHours() -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| duration('3661.5s').getMinutes() -> = 0 "=\00\00\00\00\00\00\00"
;;!   request_headers| duration('3661.5s').getSeconds() -> = 0 "M\0e\00\00\00\00\00\00"
;;!   request_headers| duration('3661.5s').getMilliseconds() -> = 0 "\f4\01\00\00\00\00\00\00"
;;!   request_headers| duration('3661.5s').getFullYear() -> = 10
;;!   request_headers| duration('-3661.5s').getMinutes() -> = 0 "\c3\ff\ff\ff\ff\ff\ff\ff"
;;!   request_headers| duration('-1.5s').getMilliseconds() -> = 0 "\0c\fe\ff\ff\ff\ff\ff\ff"
;;!   request_headers| duration('3661.5s').getHours('UTC') -> = 10
;;!   request_headers| string(duration('3661.5s')) -> = 0 "3661.500s"
;;!   request_headers| string(duration('0s')) -> = 0 "0s"
;;!   request_headers| string(duration('-1ms')) -> = 0 "-0.001s"
;;!   request_headers| int(duration('3661.5s')) -> = 10
;;!   request_headers| duration('1d') -> = 10
;;!   request_headers| duration('1.5h') -> = 0 "\00\f0\14I\e9\04\00\00"
;;!   request_headers| duration('1us1ns') -> = 0 "\e9\03\00\00\00\00\00\00"
;;!   request_headers| duration('-1h30m') -> = 0 "\00\10\eb\b6\16\fb\ff\ff"
;;!   request_headers| duration('+1s') -> = 0 "\00\ca\9a;\00\00\00\00"
;;!   request_headers| duration('0') -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| duration('') -> = 10
;;!   request_headers| duration('1') -> = 10
;;!   request_headers| duration(1) -> = 10
;;!   request_headers| duration('.5s') -> = 0 "\00e\cd\1d\00\00\00\00"
;;!   request_headers| duration('1.s') -> = 0 "\00\ca\9a;\00\00\00\00"
;;!   request_headers| duration('.s') -> = 10
;;!   request_headers| duration('1s2h') -> = 0 "\00\0a\0c\9d\8c\06\00\00"
;;!   request_headers| duration('1.0000000019s') -> = 0 "\01\ca\9a;\00\00\00\00"
;;!   request_headers| duration('--1s') -> = 10
;;!   request_headers| duration('1') -> = 10
;;!   request_headers| duration('inf') -> = 10
;;!   request_headers| duration('1µs') -> = 10
;;!   request_headers| duration(duration('1s')) -> = 0 "\00\ca\9a;\00\00\00\00"
;;!   request_headers| duration('1 s') -> = 10
;;!   request_headers| duration('9223372036s') -> = 0 "\00(\0d\cd\ff\ff\ff\7f"
;;!   request_headers| duration('9223372037s') -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   request_headers| duration('315576000000s') -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   request_headers| duration('1s') * 2 -> = 10
;;!   request_headers| duration('1s') / 2 -> = 10
;;!   request_headers| -duration('1s') -> = 10
;;!   request_headers| duration('1h') - duration('1m') -> = 0 "\00Hq88\03\00\00"
;;!   request_headers| duration('9223372036s') + duration('9223372036s') -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   ^ GET /a x-kit-a="1"
;;!   > 200 x-kit-up="yes" body "hello"

(func $try (param $p i32) (param $n i32)
  (local $s i32) (local $id i32)
  (call $clear)
  (local.set $s (call $proxy_call_foreign_function @"expr_create" (local.get $p) (local.get $n) (i32.const 16) (i32.const 20)))
  (if (local.get $s) (then
    (call $begin)
    (call $w (local.get $p) (local.get $n))
    (call $w @" -> create = ")
    (call $n (local.get $s))
    (call $end)
    (return)))
  (local.set $id (i32.load (i32.const 16)))
  (call $clear)
  (local.set $s (call $proxy_call_foreign_function @"expr_evaluate" (local.get $id) (i32.const 4) (i32.const 16) (i32.const 20)))
  (call $begin)
  (call $w (local.get $p) (local.get $n))
  (call $w @" ->")
  (call $result (local.get $s)))

(on request_headers
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z')")
  (call $try @"timestamp('2023-05-06T07:08:09+01:30')")
  (call $try @"timestamp('2023-05-06T07:08:09')")
  (call $try @"timestamp('2023-05-06')")
  (call $try @"timestamp('2023-05-06t07:08:09z')")
  (call $try @"timestamp('2023-05-06 07:08:09Z')")
  (call $try @"timestamp('2023-05-06T24:00:00Z')")
  (call $try @"timestamp('2023-06-30T23:59:60Z')")
  (call $try @"timestamp('2023-02-30T00:00:00Z')")
  (call $try @"timestamp('1969-12-31T23:59:59Z')")
  (call $try @"timestamp('0001-01-01T00:00:00Z') < timestamp('9999-12-31T23:59:59Z')")
  (call $try @"timestamp('0001-01-01T00:00:00Z')")
  (call $try @"timestamp('9999-12-31T23:59:59Z')")
  (call $try @"timestamp('10000-01-01T00:00:00Z')")
  (call $try @"timestamp('nonsense')")
  (call $try @"timestamp('')")
  (call $try @"timestamp(' 2023-05-06T07:08:09Z ')")
  (call $try @"timestamp('2023-5-6T7:8:9Z')")
  (call $try @"timestamp('2023-05-06T07:08Z')")
  (call $try @"timestamp('2023-05-06T07:08:09+0130')")
  (call $try @"timestamp('2023-05-06T07:08:09+01')")
  (call $try @"timestamp('2023-05-06T07:08:09.Z')")
  (call $try @"timestamp('2023-05-06T07:08:09.1234567891Z')")
  (call $try @"timestamp('+2023-05-06T07:08:09Z')")
  (call $try @"timestamp('23-05-06T07:08:09Z')")
  (call $try @"timestamp('-0001-05-06T07:08:09Z')")
  (call $try @"timestamp('2023-05-06T07:08:61Z')")
  (call $try @"timestamp('2023-05-06T07:60:09Z')")
  (call $try @"timestamp('2023-13-06T07:08:09Z')")
  (call $try @"timestamp('2023-00-06T07:08:09Z')")
  (call $try @"timestamp('2023-05-06T07:08:09Zx')")
  (call $try @"timestamp('2023-05-06T07:08:09+24:00')")
  (call $try @"timestamp('2023-05-06T07:08:09-23:59')")
  (call $try @"timestamp('2024-02-29T00:00:00Z')")
  (call $try @"timestamp('2023-05-06T07:08:09.5+01:00')")
  (call $try @"timestamp(0)")
  (call $try @"timestamp(1700000000)")
  (call $try @"timestamp(1u)")
  (call $try @"timestamp(1.5)")
  (call $try @"timestamp(253402300800)")
  (call $try @"timestamp(-1)")
  (call $try @"timestamp(timestamp(5))")
  (call $try @"timestamp()")
  (call $try @"timestamp(1, 2)")
  (call $try @"string(timestamp('2023-05-06T07:08:09.123456789Z'))")
  (call $try @"string(timestamp('2023-05-06T07:08:09Z'))")
  (call $try @"string(timestamp('2023-05-06T07:08:09.5Z'))")
  (call $try @"string(timestamp(-1))")
  (call $try @"string(timestamp(253402300800))")
  (call $try @"string(timestamp('0000-12-31T23:59:59Z'))")
  (call $try @"string(timestamp('2023-05-06T07:08:09.000005Z'))")
  (call $try @"string(duration('315576000001s'))")
  (call $try @"string(duration('-1.5s'))")
  (call $try @"string(duration('1us'))")
  (call $try @"string(duration('1ns'))")
  (call $try @"int(timestamp('2023-05-06T07:08:09.123456789Z'))")
  (call $try @"int(timestamp(-1))")
  (call $try @"uint(timestamp(1))")
  (call $try @"double(timestamp(1))")
  (call $try @"bytes(timestamp(1))")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getFullYear()")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getMonth()")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getDate()")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getDayOfMonth()")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getDayOfWeek()")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getDayOfYear()")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours()")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getMinutes()")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getSeconds()")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getMilliseconds()")
  (call $try @"timestamp(-1).getFullYear()")
  (call $try @"timestamp(-1).getSeconds()")
  (call $try @"timestamp(-1).getDayOfWeek()")
  (call $try @"timestamp('2024-12-31T23:59:59Z').getDayOfYear()")
  (call $try @"timestamp('1969-12-31T23:59:59.999Z').getMilliseconds()")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours('+01:30')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours('-08:00')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours('02:00')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours('2:00')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours('+2')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours('+24:00')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours('+01:75')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours('UTC')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours('Etc/UTC')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours('America/New_York')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours('GMT')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours('Z')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours('nonsense')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours('')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getHours(1)")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getDate('-08:00')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getDayOfMonth('-08:00')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getMinutes('+01:30')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getFullYear('Europe/Berlin')")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').getDayOfWeek('-23:59')")
  (call $try @"getHours(timestamp('2023-05-06T07:08:09.123456789Z'))")
  (call $try @"timestamp('2023-05-06T07:08:09.123456789Z').nosuch()")
  (call $try @"request.time.getFullYear() > 2000")
  (call $try @"request.time > timestamp('2020-01-01T00:00:00Z')")
  (call $try @"timestamp(10) - timestamp(4)")
  (call $try @"timestamp(10) + duration('1s')")
  (call $try @"duration('1s') + timestamp(10)")
  (call $try @"timestamp(10) - duration('1s')")
  (call $try @"timestamp(1) + timestamp(2)")
  (call $try @"timestamp(1) + 1")
  (call $try @"timestamp(1) == timestamp('1970-01-01T00:00:01Z')")
  (call $try @"timestamp(1) < 5")
  (call $try @"timestamp(1) == 1")
  (call $try @"timestamp('9999-12-31T23:59:59Z') + duration('1s')")
  (call $try @"timestamp('0001-01-01T00:00:00Z') - duration('1s')")
  (call $try @"duration('3661.5s').getHours()")
  (call $try @"duration('3661.5s').getMinutes()")
  (call $try @"duration('3661.5s').getSeconds()")
  (call $try @"duration('3661.5s').getMilliseconds()")
  (call $try @"duration('3661.5s').getFullYear()")
  (call $try @"duration('-3661.5s').getMinutes()")
  (call $try @"duration('-1.5s').getMilliseconds()")
  (call $try @"duration('3661.5s').getHours('UTC')")
  (call $try @"string(duration('3661.5s'))")
  (call $try @"string(duration('0s'))")
  (call $try @"string(duration('-1ms'))")
  (call $try @"int(duration('3661.5s'))")
  (call $try @"duration('1d')")
  (call $try @"duration('1.5h')")
  (call $try @"duration('1us1ns')")
  (call $try @"duration('-1h30m')")
  (call $try @"duration('+1s')")
  (call $try @"duration('0')")
  (call $try @"duration('')")
  (call $try @"duration('1')")
  (call $try @"duration(1)")
  (call $try @"duration('.5s')")
  (call $try @"duration('1.s')")
  (call $try @"duration('.s')")
  (call $try @"duration('1s2h')")
  (call $try @"duration('1.0000000019s')")
  (call $try @"duration('--1s')")
  (call $try @"duration('1')")
  (call $try @"duration('inf')")
  (call $try @"duration('1µs')")
  (call $try @"duration(duration('1s'))")
  (call $try @"duration('1 s')")
  (call $try @"duration('9223372036s')")
  (call $try @"duration('9223372037s')")
  (call $try @"duration('315576000000s')")
  (call $try @"duration('1s') * 2")
  (call $try @"duration('1s') / 2")
  (call $try @"-duration('1s')")
  (call $try @"duration('1h') - duration('1m')")
  (call $try @"duration('9223372036s') + duration('9223372036s')")
  (i32.const 0))
