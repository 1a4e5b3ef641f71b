;;! covers: proxy_call_foreign_function
;;! about: Signatures: right, wrong, by hash functions and keys that are none.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| verify_signature = 0, the first field 1
;;!   request_headers| verify_signature = 0, the first field 1
;;!   request_headers| verify_signature = 0, the first field 2
;;!   request_headers| verify_signature = 0, the first field 2
;;!   request_headers| verify_signature = 0, the first field 2
;;!   request_headers| verify_signature = 2
;;!   request_headers| sign = 0, the first field 3
;;!   request_headers| sign = 2
;;!   request_headers| sign = 2
;;!   request_headers| sign = 0, the first field 3
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

;; The words of what is wrong are each library's own.
(func $asked (param $name i32) (param $nn i32) (param $arg i32) (param $an i32)
  (local $s i32)
  (call $clear)
  (local.set $s (call $proxy_call_foreign_function (local.get $name) (local.get $nn) (local.get $arg) (local.get $an) (i32.const 16) (i32.const 20)))
  (call $begin)
  (call $w (local.get $name) (local.get $nn))
  (call $w @" = ")
  (call $n (local.get $s))
  (if (i32.load (i32.const 20)) (then
    (call $w @", the first field ")
    (call $n (i32.shr_u (i32.load8_u (i32.load (i32.const 16))) (i32.const 3)))))
  (call $end))

(on request_headers
  (call $asked @"verify_signature" @"\0a\06sha256\12\a6\020\82\01\220\0d\06\09*\86H\86\f7\0d\01\01\01\05\00\03\82\01\0f\000\82\01\0a\02\82\01\01\00\e2\be\fa\f33U\90uFHg\8aU\f4zd\cb\fe\b3s\db\aa\bcL\c4\95IF\de\b4\9b\f6\d7\da\e3\e7\10A\95\d7S\c87\f5\b7\9d\fe>\86|\15\9b\9f\9b\86\e2\b7\cfnk\18\14\8b\bf/\88\a4\02\ca5[\ad:\22\ae\b9\b9\9e\8aORp\bd\04>\b7&\90\bf\f5\01M\b3\d1\82\1c\a6\8bs\a5N\ea\17\b3Qz\abP|p\9d\06n\13\ean\ac\c2_\cd4c\09\8b\d3\28u\a1\b4\e0F\83\db\cd\09\1a\91\0a\aa\1b\02\9c\86\b3\bc\0b\f2\e1\1b\d6L\d4\bd,\f8\bcL\3b\e40[.\8b\bd\12\89\c8\86\1d4\08\d6\40B\19\e5_\92\14w\ec\ecZ\0f}:=\11\08\15\28\81-&\9dZ\1e\cb\cf[\c2\dbh\a8`M\0b\106w\fb]\80\c1\c3\22\1a\06BY\c4s\0c\17\08s97\eee8\d9\9a\e9\b5\98\9f`\07\ae\c3\c6$\13\87z\05\95F2\f3-\a6\ecS-\02\03\01\00\01\1a\80\02z\e2\d2\b1\cd\3b\e7+061oJd\9d7\f5\80\17\c8\03\be5a\dby\c0H\cf\f3Z\b3\c1\96Z\84\80\04\11\1a%\05O\ee\01\0b4N?\8eaoe\c7\87\a9Y\01\1aJ0|j\f7\ab\f6\9f0\a0x\d3\d5\28\b4I5f\c5\80\a5\a00\dd\002U\e0\a7f$|\adL\10\dc\bb\0c\1e\19^\1ee\f1\be#e<\db\0e\82\cf\d00\cc\11\01\ae\12q\16\88\e7i\80\5c\b3_rK\f5\e1\ba\c0e\00\f7\b0a\98\dc0\ceX\02\08\c7N\08\7f\b8\0d\18\aeiS$56\01R\0b\dcW\0b\cb\b1\90\94\c4\1dFv\9f\e4W3\c9\cb\91\d9\a6\10uv\06\1bg\96\ae\e3I\98\1a]<yD\c7%*\d6\e9\04\83=I\d0\aa1\d8\1b\89U\0f\94\c2P\9e\b0\f3WP\1fQ\b57\d2\17\11B\94\a2[\85\22\e4W\b0v{\e4f\afv\ec\85n\caz\9d\96c\16\ee\ed\8c\22\05hello")
  (call $asked @"verify_signature" @"\0a\06SHA256\12\a6\020\82\01\220\0d\06\09*\86H\86\f7\0d\01\01\01\05\00\03\82\01\0f\000\82\01\0a\02\82\01\01\00\e2\be\fa\f33U\90uFHg\8aU\f4zd\cb\fe\b3s\db\aa\bcL\c4\95IF\de\b4\9b\f6\d7\da\e3\e7\10A\95\d7S\c87\f5\b7\9d\fe>\86|\15\9b\9f\9b\86\e2\b7\cfnk\18\14\8b\bf/\88\a4\02\ca5[\ad:\22\ae\b9\b9\9e\8aORp\bd\04>\b7&\90\bf\f5\01M\b3\d1\82\1c\a6\8bs\a5N\ea\17\b3Qz\abP|p\9d\06n\13\ean\ac\c2_\cd4c\09\8b\d3\28u\a1\b4\e0F\83\db\cd\09\1a\91\0a\aa\1b\02\9c\86\b3\bc\0b\f2\e1\1b\d6L\d4\bd,\f8\bcL\3b\e40[.\8b\bd\12\89\c8\86\1d4\08\d6\40B\19\e5_\92\14w\ec\ecZ\0f}:=\11\08\15\28\81-&\9dZ\1e\cb\cf[\c2\dbh\a8`M\0b\106w\fb]\80\c1\c3\22\1a\06BY\c4s\0c\17\08s97\eee8\d9\9a\e9\b5\98\9f`\07\ae\c3\c6$\13\87z\05\95F2\f3-\a6\ecS-\02\03\01\00\01\1a\80\02z\e2\d2\b1\cd\3b\e7+061oJd\9d7\f5\80\17\c8\03\be5a\dby\c0H\cf\f3Z\b3\c1\96Z\84\80\04\11\1a%\05O\ee\01\0b4N?\8eaoe\c7\87\a9Y\01\1aJ0|j\f7\ab\f6\9f0\a0x\d3\d5\28\b4I5f\c5\80\a5\a00\dd\002U\e0\a7f$|\adL\10\dc\bb\0c\1e\19^\1ee\f1\be#e<\db\0e\82\cf\d00\cc\11\01\ae\12q\16\88\e7i\80\5c\b3_rK\f5\e1\ba\c0e\00\f7\b0a\98\dc0\ceX\02\08\c7N\08\7f\b8\0d\18\aeiS$56\01R\0b\dcW\0b\cb\b1\90\94\c4\1dFv\9f\e4W3\c9\cb\91\d9\a6\10uv\06\1bg\96\ae\e3I\98\1a]<yD\c7%*\d6\e9\04\83=I\d0\aa1\d8\1b\89U\0f\94\c2P\9e\b0\f3WP\1fQ\b57\d2\17\11B\94\a2[\85\22\e4W\b0v{\e4f\afv\ec\85n\caz\9d\96c\16\ee\ed\8c\22\05hello")
  (call $asked @"verify_signature" @"\0a\06sha256\12\a6\020\82\01\220\0d\06\09*\86H\86\f7\0d\01\01\01\05\00\03\82\01\0f\000\82\01\0a\02\82\01\01\00\e2\be\fa\f33U\90uFHg\8aU\f4zd\cb\fe\b3s\db\aa\bcL\c4\95IF\de\b4\9b\f6\d7\da\e3\e7\10A\95\d7S\c87\f5\b7\9d\fe>\86|\15\9b\9f\9b\86\e2\b7\cfnk\18\14\8b\bf/\88\a4\02\ca5[\ad:\22\ae\b9\b9\9e\8aORp\bd\04>\b7&\90\bf\f5\01M\b3\d1\82\1c\a6\8bs\a5N\ea\17\b3Qz\abP|p\9d\06n\13\ean\ac\c2_\cd4c\09\8b\d3\28u\a1\b4\e0F\83\db\cd\09\1a\91\0a\aa\1b\02\9c\86\b3\bc\0b\f2\e1\1b\d6L\d4\bd,\f8\bcL\3b\e40[.\8b\bd\12\89\c8\86\1d4\08\d6\40B\19\e5_\92\14w\ec\ecZ\0f}:=\11\08\15\28\81-&\9dZ\1e\cb\cf[\c2\dbh\a8`M\0b\106w\fb]\80\c1\c3\22\1a\06BY\c4s\0c\17\08s97\eee8\d9\9a\e9\b5\98\9f`\07\ae\c3\c6$\13\87z\05\95F2\f3-\a6\ecS-\02\03\01\00\01\1a\80\02z\e2\d2\b1\cd\3b\e7+061oJd\9d7\f5\80\17\c8\03\be5a\dby\c0H\cf\f3Z\b3\c1\96Z\84\80\04\11\1a%\05O\ee\01\0b4N?\8eaoe\c7\87\a9Y\01\1aJ0|j\f7\ab\f6\9f0\a0x\d3\d5\28\b4I5f\c5\80\a5\a00\dd\002U\e0\a7f$|\adL\10\dc\bb\0c\1e\19^\1ee\f1\be#e<\db\0e\82\cf\d00\cc\11\01\ae\12q\16\88\e7i\80\5c\b3_rK\f5\e1\ba\c0e\00\f7\b0a\98\dc0\ceX\02\08\c7N\08\7f\b8\0d\18\aeiS$56\01R\0b\dcW\0b\cb\b1\90\94\c4\1dFv\9f\e4W3\c9\cb\91\d9\a6\10uv\06\1bg\96\ae\e3I\98\1a]<yD\c7%*\d6\e9\04\83=I\d0\aa1\d8\1b\89U\0f\94\c2P\9e\b0\f3WP\1fQ\b57\d2\17\11B\94\a2[\85\22\e4W\b0v{\e4f\afv\ec\85n\caz\9d\96c\16\ee\ed\8c\22\05hellO")
  (call $asked @"verify_signature" @"\0a\06nosuch\12\06no\20key\1a\80\02z\e2\d2\b1\cd\3b\e7+061oJd\9d7\f5\80\17\c8\03\be5a\dby\c0H\cf\f3Z\b3\c1\96Z\84\80\04\11\1a%\05O\ee\01\0b4N?\8eaoe\c7\87\a9Y\01\1aJ0|j\f7\ab\f6\9f0\a0x\d3\d5\28\b4I5f\c5\80\a5\a00\dd\002U\e0\a7f$|\adL\10\dc\bb\0c\1e\19^\1ee\f1\be#e<\db\0e\82\cf\d00\cc\11\01\ae\12q\16\88\e7i\80\5c\b3_rK\f5\e1\ba\c0e\00\f7\b0a\98\dc0\ceX\02\08\c7N\08\7f\b8\0d\18\aeiS$56\01R\0b\dcW\0b\cb\b1\90\94\c4\1dFv\9f\e4W3\c9\cb\91\d9\a6\10uv\06\1bg\96\ae\e3I\98\1a]<yD\c7%*\d6\e9\04\83=I\d0\aa1\d8\1b\89U\0f\94\c2P\9e\b0\f3WP\1fQ\b57\d2\17\11B\94\a2[\85\22\e4W\b0v{\e4f\afv\ec\85n\caz\9d\96c\16\ee\ed\8c\22\05hello")
  (call $asked @"verify_signature" @"\0a\06sha256\12\06no\20key\1a\80\02z\e2\d2\b1\cd\3b\e7+061oJd\9d7\f5\80\17\c8\03\be5a\dby\c0H\cf\f3Z\b3\c1\96Z\84\80\04\11\1a%\05O\ee\01\0b4N?\8eaoe\c7\87\a9Y\01\1aJ0|j\f7\ab\f6\9f0\a0x\d3\d5\28\b4I5f\c5\80\a5\a00\dd\002U\e0\a7f$|\adL\10\dc\bb\0c\1e\19^\1ee\f1\be#e<\db\0e\82\cf\d00\cc\11\01\ae\12q\16\88\e7i\80\5c\b3_rK\f5\e1\ba\c0e\00\f7\b0a\98\dc0\ceX\02\08\c7N\08\7f\b8\0d\18\aeiS$56\01R\0b\dcW\0b\cb\b1\90\94\c4\1dFv\9f\e4W3\c9\cb\91\d9\a6\10uv\06\1bg\96\ae\e3I\98\1a]<yD\c7%*\d6\e9\04\83=I\d0\aa1\d8\1b\89U\0f\94\c2P\9e\b0\f3WP\1fQ\b57\d2\17\11B\94\a2[\85\22\e4W\b0v{\e4f\afv\ec\85n\caz\9d\96c\16\ee\ed\8c\22\05hello")
  (call $asked @"verify_signature" @"\0a\06sha256\12\00\1a\80\02z\e2\d2\b1\cd\3b\e7+061oJd\9d7\f5\80\17\c8\03\be5a\dby\c0H\cf\f3Z\b3\c1\96Z\84\80\04\11\1a%\05O\ee\01\0b4N?\8eaoe\c7\87\a9Y\01\1aJ0|j\f7\ab\f6\9f0\a0x\d3\d5\28\b4I5f\c5\80\a5\a00\dd\002U\e0\a7f$|\adL\10\dc\bb\0c\1e\19^\1ee\f1\be#e<\db\0e\82\cf\d00\cc\11\01\ae\12q\16\88\e7i\80\5c\b3_rK\f5\e1\ba\c0e\00\f7\b0a\98\dc0\ceX\02\08\c7N\08\7f\b8\0d\18\aeiS$56\01R\0b\dcW\0b\cb\b1\90\94\c4\1dFv\9f\e4W3\c9\cb\91\d9\a6\10uv\06\1bg\96\ae\e3I\98\1a]<yD\c7%*\d6\e9\04\83=I\d0\aa1\d8\1b\89U\0f\94\c2P\9e\b0\f3WP\1fQ\b57\d2\17\11B\94\a2[\85\22\e4W\b0v{\e4f\afv\ec\85n\caz\9d\96c\16\ee\ed\8c\22\05hello")
  (call $asked @"sign" @"\0a\06sha256\12\06no\20key\1a\05hello")
  (call $asked @"sign" @"\0a\06sha256\12\00\1a\05hello")
  (call $asked @"sign" @"\0a\06nosuch\12\00\1a\05hello")
  (call $asked @"sign" @"\0a\06nosuch\12\06no\20key\1a\05hello")
  (i32.const 0))
