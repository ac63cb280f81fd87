//! `mizan.zakat.v1.ZakatService`: reads requests, asks the domain, writes answers.

mod batch;
mod calculate;
mod policies;
mod read;
mod read_asset;
mod write;

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use mizan_contracts::zakat::v1::{
    AssessBatchRequest, AssessBatchResponse, AssessLivestockRequest, AssessLivestockResponse,
    AssessRequest, AssessResponse, CalculateRequest, CalculateResponse, GetNisabRequest,
    GetNisabResponse, GetPolicyRequest, ListPoliciesRequest, ListPoliciesResponse, Policy,
    zakat_service_server::{ZakatService, ZakatServiceServer},
};
use tonic::{Request, Response, Status, Streaming};

use crate::assessor::Assessor;

pub(crate) use read::Asked;
pub(crate) use write::assessment;

/// The service as a server takes it.
pub(crate) fn service(assessor: Assessor) -> ZakatServiceServer<Api> {
    ZakatServiceServer::new(Api {
        assessor: Arc::new(assessor),
    })
    .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
    .accept_compressed(tonic::codec::CompressionEncoding::Zstd)
}

/// The calls. There is no state: equal requests get equal answers from every instance.
#[derive(Debug)]
pub(crate) struct Api {
    assessor: Arc<Assessor>,
}

/// The answers of a batch.
type Answers = Pin<Box<dyn Stream<Item = Result<AssessBatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ZakatService for Api {
    type AssessBatchStream = Answers;

    async fn calculate(
        &self,
        request: Request<CalculateRequest>,
    ) -> Result<Response<CalculateResponse>, Status> {
        calculate::calculate(&request.into_inner()).map(Response::new)
    }

    async fn assess(
        &self,
        request: Request<AssessRequest>,
    ) -> Result<Response<AssessResponse>, Status> {
        self.assessor
            .assess(&request.into_inner())
            .map(Response::new)
    }

    async fn assess_batch(
        &self,
        request: Request<Streaming<AssessBatchRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let answers = batch::answers(request.into_inner(), Arc::clone(&self.assessor));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn assess_livestock(
        &self,
        request: Request<AssessLivestockRequest>,
    ) -> Result<Response<AssessLivestockResponse>, Status> {
        policies::assess_livestock(&self.assessor, &request.into_inner()).map(Response::new)
    }

    async fn list_policies(
        &self,
        request: Request<ListPoliciesRequest>,
    ) -> Result<Response<ListPoliciesResponse>, Status> {
        policies::list(&self.assessor, &request.into_inner()).map(Response::new)
    }

    async fn get_policy(
        &self,
        request: Request<GetPolicyRequest>,
    ) -> Result<Response<Policy>, Status> {
        policies::get(&self.assessor, &request.into_inner()).map(Response::new)
    }

    async fn get_nisab(
        &self,
        request: Request<GetNisabRequest>,
    ) -> Result<Response<GetNisabResponse>, Status> {
        policies::get_nisab(&self.assessor, &request.into_inner()).map(Response::new)
    }
}
