"""Writes to a bucket by boto3 as a program would: the endpoint, the bucket and a file are its arguments. Prints what it saw as JSON."""

import json
import sys

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.client import Config

endpoint, bucket, path = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}))
parts = TransferConfig(multipart_threshold=2**20, multipart_chunksize=5 * 2**20)
client.upload_file(path, bucket, "boto3/large", Config=parts, ExtraArgs={"Metadata": {"who": "boto3"}})
client.put_object(Bucket=bucket, Key="boto3/small", Body=b"small", ContentType="text/x-small")
client.copy_object(Bucket=bucket, Key="boto3/copy", CopySource={"Bucket": bucket, "Key": "boto3/small"})
head = client.head_object(Bucket=bucket, Key="boto3/large")
begun = client.create_multipart_upload(Bucket=bucket, Key="boto3/begun")
part = client.upload_part(Bucket=bucket, Key="boto3/begun", UploadId=begun["UploadId"], PartNumber=1, Body=b"part")
uploads = client.list_multipart_uploads(Bucket=bucket)
parts = client.list_parts(Bucket=bucket, Key="boto3/begun", UploadId=begun["UploadId"])
client.abort_multipart_upload(Bucket=bucket, Key="boto3/begun", UploadId=begun["UploadId"])
client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "boto3/small"}, {"Key": "boto3/none"}]})
listed = client.list_objects_v2(Bucket=bucket, Prefix="boto3/")
print(
    json.dumps(
        {
            "who": head["Metadata"]["who"],
            "uploads": [one["Key"] for one in uploads["Uploads"]],
            "parts": [one["PartNumber"] for one in parts["Parts"]],
            "listed": {one["Key"]: one["Size"] for one in listed["Contents"]},
        }
    )
)
