# stedit with PyTorch for the CPU and the embedded model: docker run --rm -v "$PWD:/data" stedit edit -a smile photo.jpg
FROM python:3.12-slim
COPY . /source
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -c /source/constraints.txt /source \
    && rm -rf /source
WORKDIR /data
ENTRYPOINT ["stedit"]
