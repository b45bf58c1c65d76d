"""Reads a bucket by boto3 as a program would, and prints what it saw as JSON: the endpoint, the bucket and two keys are its arguments."""

import hashlib
import json
import sys
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import ClientError

endpoint, bucket, small, large, target = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}))
pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
listed = {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", [])}
groups = client.list_objects(Bucket=bucket, Delimiter="/")["CommonPrefixes"]
head = client.head_object(Bucket=bucket, Key=small)
whole = client.get_object(Bucket=bucket, Key=small)
part = client.get_object(Bucket=bucket, Key=large, Range="bytes=1000000-1000099")
named = client.get_object(Bucket=bucket, Key=small, ResponseContentType="text/x-other")
link = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": small}, ExpiresIn=60)
# In many ranges at once, as a large object is downloaded.
client.download_file(bucket, large, target, Config=TransferConfig(multipart_threshold=2**20, multipart_chunksize=2**20))
try:
    client.put_object(Bucket=bucket, Key="written", Body=b"x")
    written = "yes"
except ClientError as error:
    written = error.response["Error"]["Code"]
with open(target, "rb") as file, urllib.request.urlopen(link) as answer:
    print(
        json.dumps(
            {
                "buckets": [one["Name"] for one in client.list_buckets()["Buckets"]],
                "listed": listed,
                "groups": [one["Prefix"] for one in groups],
                "type": head["ContentType"],
                "size": head["ContentLength"],
                "named": named["ContentType"],
                "whole": hashlib.sha256(whole["Body"].read()).hexdigest(),
                "part": part["Body"].read().hex(),
                "presigned": hashlib.sha256(answer.read()).hexdigest(),
                "downloaded": hashlib.sha256(file.read()).hexdigest(),
                "written": written,
            }
        )
    )
