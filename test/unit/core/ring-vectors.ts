/**
 * What Alluxio's Python client is tested with (`Alluxio/alluxio-py`, `tests/assets/hash_res` and the test of one
 * worker's hashes): hosts, the identifiers they have, and who owns some paths when every worker has 5 virtual nodes.
 */

/** Those hosts and no others are on the ring. */
export const hosts = `
worker-fmvjygixyt-8993 worker-ujvhyfprjc-79 worker-nakxlhtbwu-355 worker-uohlaocjcb-9854 worker-gxdkefonqf-1738
worker-gjzlwiuifu-4991 worker-oqjcznkqhh-1621 worker-muzlyqhjtf-1501 worker-fjqojdrnun-394 worker-hasicqeqms-2548
worker-pxtwffhwpv-1106 worker-iakqckkxxd-3188 worker-vjuxlgfjsn-2944 worker-fnwnfpqdsi-6567 worker-xwcsdwxijw-2610
worker-bfydonscfx-4806 worker-kvfkefpucw-7829 worker-hzwbeyabvg-6268 worker-atzylwpgju-9727 worker-crrkjzttdk-9462
worker-kfgorghjgw-235 worker-gukpxxujsl-526 worker-imoaepvvdz-8203 worker-dnbkvfqaed-811 worker-wtborcfzha-3675
worker-yfkdrypeuq-5502 worker-vocaaeuwug-8440 worker-nndnhtubyb-3198 worker-edmtlksxyz-8687 worker-jpswgyapjb-9091
worker-powoalhuan-889 worker-uhfxhulyiz-2526 worker-nufuphxfbk-3794 worker-yqfvjtwvyc-3118 worker-rfczdltwwt-3569
worker-keebwqvzoi-7748 worker-sqkpasdrca-9840 worker-lkjdkmlqdb-3457 worker-goakzjzyca-4901 worker-bcnbtjkqeg-6684
worker-xinbxyhoxj-4420 worker-usazyzkozq-6526 worker-nkegjyykfy-5121 worker-dmnwyfzetu-4312 worker-agyqpurqcz-1984
worker-ibolbcdres-8977 worker-kdikdfjtcb-352 worker-auuevjgrbb-2181 worker-zayysvqavb-2677 worker-hyvoweednm-4491
`
  .trim()
  .split(/\s+/);

/** The identifiers of those hosts, in another order. */
export const identifiers = `
b785d1f098863821a4eb6bee226c35b7 065141ec74bd3ad8bff25e7bc18408be 8a812752548f33d4a7e83a2a7b4a5c80
3e05246f5a4b37e7bd9a0b09b1706b95 35a44a2979bb392b86a4d51b44b666c7 55da12e6f8ea35059e783843d4733281
a11b880d043231fba4a14c9da7c86a83 4310bdfd3c763fb3a58edb9b4030d99f d5d8e197ad4f353b9ba5c2856bc844e1
ed014f952f6c3e1ca0d5a479e4141456 b065a65d21613f30b210668f36b99865 89d35a3cb15e3664b0e5e9e5091d54c4
ff552a31dc9c31dfaae746915261cc0f 8aac9641549c3663bc5fc2a1d7b652d1 1ae5694808e43da58ba98374c7e51190
a8fc3852f5b636bc846996f2f5fd52c4 70d7e21f675633c38b057731c646283b 861111d5e78e39bcb4111b1ac713d40b
464294a547843ecca2be5a615b1397c0 0fcc8d949efd3ed594bec8171d131a4e acf3522e534a35c2a811716eeb29c22e
02211ad6f0cf359e8a6b9ca7f79329c1 d44ef730090b3bf4ad6ab93c7fc2ecd1 d1450ca53c3c3ccbb875326d4ec2d38f
d71a716e22ef33e4baa94336282c6f3b 08dfb7f3f3bf3668889accd20d27ae56 0714e1f5551736ff85cef7d9fd8c28f2
b43de09a152b3d42ba0f628e69742db3 d53648c23d853765a0662482a16a4ca3 00dd0f17afad3c54a1ee3b42cbfde3f0
b2e9c4abf2c133cab118acca6b6fe4e7 e4d8ef54fd3834628e07fd42e79978b3 aacf21dd9eb537eeb332c48248e79865
865668aadaba3511a84d8054613dd14b 959e6e70afa63804bf6f6f003ab54adb d69c0d9d83d7348bbf3ff323a450babc
ce88e51340d034eb95942143f1d177dd d9824b27273034f69ddf0369b907de1e a0e69147a1bc3b55ba88803686ee8ef8
07a1007d01053baeb0aa798f88e1a0f2 f4c597fd0865329ca22e1ab30e0adf33 5d2e3793fc6638e98507610a19a6079f
18da1234f4cb339d8e563665adcbaae1 f170065c69273b4092cf73ffe2fb8a49 f4017d1d98933b659d6b0e2811c22a1c
63612b5f0daf3724b30428ee6a390e86 d7028a8eab373a28b2a2f6109a13011d 4f23e7a1a230318a912dbdf8f78e0aed
eb5a6614aa793f968ecc6426a8aaf31b 9f1304b5ef553bb99291561ab5fdccba
`
  .trim()
  .split(/\s+/);

/** The first 4 bytes of the identifiers of the first five owners, in order. */
export const ownersOfPaths: Readonly<Record<string, string>> = {
  's3://ai-ref-arch/yelp-review/yelp_academic_dataset_checkin.json': 'f4c597fd d7028a8e 55da12e6 acf3522e 18da1234',
  'gcs://bucket/file.txt': 'ce88e513 d53648c2 d7028a8e b2e9c4ab d69c0d9d',
  's://ai-testing/': '89d35a3c ed014f95 acf3522e 02211ad6 d5d8e197',
  's3://ai-ref-arch/yelp-review/yelp_academic_dataset_review.json': 'd53648c2 d1450ca5 4310bdfd d7028a8e 0714e1f5',
  's3://bucket/path/to/dir': '464294a5 0fcc8d94 d71a716e e4d8ef54 5d2e3793',
  'hdfs://host:port/path/to/file': 'b785d1f0 d7028a8e 4f23e7a1 d1450ca5 959e6e70',
  'wasbs://container@account.blob.core.windows.net/dir': 'b2e9c4ab d44ef730 0714e1f5 d71a716e 02211ad6',
  'gs://bucket/file.txt': '35a44a29 acf3522e d7028a8e b065a65d 8aac9641',
  's3://ai-ref-arch/yelp-review/yelp_review_sample_large.csv': 'eb5a6614 d53648c2 1ae56948 e4d8ef54 d69c0d9d',
  's3://ai-ref-arch/yelp-review/model.pt': 'b43de09a 35a44a29 b785d1f0 1ae56948 8a812752',
  's3://ai-ref-arch/yelp-review/yelp_academic_dataset_business.json': 'eb5a6614 18da1234 d7028a8e b43de09a 55da12e6',
  'hdfs://namenode:8020/user/hadoop/file.txt': 'eb5a6614 a8fc3852 d7028a8e 63612b5f 8a812752',
  'gs://bucket/dir': 'b065a65d 065141ec 07a1007d 1ae56948 ff552a31',
  'gcs://bucket/dir': 'eb5a6614 18da1234 f4017d1d d69c0d9d ed014f95',
  's3://ai-ref-arch/yelp-review/yelp_academic_dataset_user.json': 'ed014f95 4f23e7a1 3e05246f b785d1f0 d53648c2',
  's3://bucket/path/to/file': '0714e1f5 a0e69147 b43de09a 464294a5 4f23e7a1',
  'hdfs://host:port/path/to/dir': 'd71a716e eb5a6614 8aac9641 b2e9c4ab d69c0d9d',
  's3://ai-ref-arch/yelp-review/yelp_academic_dataset_tip.json': '5d2e3793 d9824b27 35a44a29 d7028a8e 8aac9641',
  'hdfs://namenode:8020/user/hadoop/dir': '865668aa e4d8ef54 b065a65d aacf21dd b785d1f0',
  's3://ai-ref-arch/yelp-review/yelp_review_sample.csv': 'ff552a31 b2e9c4ab aacf21dd 0fcc8d94 f4017d1d',
  'wasbs://container@account.blob.core.windows.net/file.txt': 'd7028a8e 63612b5f acf3522e 865668aa b2e9c4ab',
};

/** The points of one identity of version 1 with 5 virtual nodes, in the order of the circle. */
export const pointsOfOne = {
  identifier: '4f23e7a1a230318a912dbdf8f78e0aed',
  hashes: [-2035703500, -2020503163, -1945615066, -1905409545, 1420996528],
};
